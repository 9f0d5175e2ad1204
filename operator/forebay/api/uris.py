"""How addresses of models are written: a pattern for each scheme, in the order in which they are shown."""

_WORD = r"[^ \t\n\r]+"
_NAME = r"[^/ \t\n\r]+"

_FORMS = {
    "s3://BUCKET/PREFIX": f"s3://{_NAME}/{_WORD}",
    "gs://BUCKET/PREFIX": f"gs://{_NAME}/{_WORD}",
    "az://ACCOUNT/CONTAINER/PREFIX": f"az://[a-z0-9]+/{_NAME}/{_WORD}",
    "hf://ORG/MODEL[@REVISION]": f"hf://{_NAME}/{_WORD}",
    "oci://REGISTRY/REPOSITORY:TAG": rf"oci://{_NAME}/[^# \t\n\r]+",
    "models:/NAME@ALIAS": r"models:/[^/@: \t\n\r]+(/|@)" + _NAME,
    "pvc://CLAIM/PATH": f"pvc://[a-z0-9]([a-z0-9.-]*[a-z0-9])?/{_WORD}",
    "nfs://SERVER/PATH": f"nfs://{_NAME}/{_WORD}",
    "https://HOST/FILE": f"https://{_WORD}",
    "file:PATH": f"file:{_WORD}",
}
URI_FORM = f"{', '.join([*_FORMS][:-1])} or {[*_FORMS][-1]}, with no spaces"
URI_PATTERN = f"^({'|'.join(_FORMS.values())})$"
