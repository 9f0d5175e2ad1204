"""The certificate by which the apiserver knows the API, and the authority that signed it: made here, and renewed."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = timedelta(days=90)
# Clocks differ.
_BEFORE = timedelta(minutes=5)
_AUTHORITIES = 2


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """In PEM: the authorities to trust, the newest first, and the server's certificate with its key."""

    authorities: str
    certificate: str
    key: str = ""

    def is_due(self, now: datetime, names: list[str]) -> bool:
        """Whether it is time for others: a third of the time is left, or the server is called otherwise."""
        found = x509.load_pem_x509_certificate(self.certificate.encode())
        lasts = found.not_valid_after_utc - found.not_valid_before_utc
        alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        known = alternatives.get_values_for_type(x509.DNSName)
        return now > found.not_valid_after_utc - lasts / 3 or sorted(known) != sorted(names)


def make_certificates(
    names: list[str], *, now: datetime, valid: timedelta = VALID, earlier: Certificates | None = None
) -> Certificates:
    """A new authority, and a certificate of it for a server of these names. The authority before stays trusted.

    The authority's key is nowhere once this is done, so nobody can sign anything else.
    """
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"forebay-metrics-{now:%Y%m%d%H%M%S}")])
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    authority = (
        _begin(subject, subject, authority_key.public_key(), now, valid)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    server = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    certificate = (
        _begin(server, subject, key.public_key(), now, valid)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    known = x509.load_pem_x509_certificates(earlier.authorities.encode()) if earlier else []
    pem = serialization.Encoding.PEM
    form, secret = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return Certificates(
        authorities="".join(each.public_bytes(pem).decode() for each in [authority, *known][:_AUTHORITIES]),
        certificate=certificate.public_bytes(pem).decode(),
        key=key.private_bytes(pem, form, secret).decode(),
    )


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, valid: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + valid)
    )
