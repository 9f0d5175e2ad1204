"""The words of each kind of storage, beside each other."""

from forebay.serving.storage.wording import Words

S3 = Words(
    object_="object",
    bucket="bucket",
    credentials="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    grant="grant s3:ListBucket on the bucket and s3:GetObject on its objects",
    renew="get a new AWS_SESSION_TOKEN, with the key and secret that belong to it",
    endpoint="AWS_ENDPOINT_URL",
)
GS = Words(
    object_="object",
    bucket="bucket",
    credentials="set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account's key, or "
    "GOOGLE_APPLICATION_CREDENTIALS_JSON to its text",
    grant="grant the service account the role Storage Object Viewer (roles/storage.objectViewer) on the bucket",
    renew="make a new key of the service account, and look whether this machine's clock is right",
)
AZ = Words(
    object_="blob",
    bucket="container",
    credentials="set AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_KEY, or AZURE_CLIENT_ID with AZURE_TENANT_ID and "
    "AZURE_CLIENT_SECRET",
    grant="grant the role Storage Blob Data Reader on the container, or a SAS token with the permissions r and l",
    renew="make a new SAS token with the permissions r and l, or look at AZURE_CLIENT_ID, AZURE_TENANT_ID and "
    "AZURE_CLIENT_SECRET",
    endpoint="the account's name, AZURE_STORAGE_SERVICE_ENDPOINT",
)
HTTPS = Words(
    object_="file",
    bucket="address",
    credentials="set HTTPS_TOKEN to a bearer token",
    grant="allow the token in HTTPS_TOKEN to read it, or sign the address again if it is a signed one",
    renew="get a new token for HTTPS_TOKEN",
)
HF = Words(
    object_="file",
    bucket="model",
    credentials="set HF_TOKEN to an access token",
    grant="give the token in HF_TOKEN read access to this model",
    renew="make a new access token for HF_TOKEN",
    endpoint="HF_ENDPOINT",
)
OCI = Words(
    object_="layer",
    bucket="repository",
    credentials="set DOCKER_AUTH_CONFIG to the text of a docker config.json, or `docker login`",
    grant="let the user of the docker config pull from this repository",
    renew="log in anew, with the user and password of the docker config",
)
MLFLOW = Words(
    object_="file",
    bucket="model",
    credentials="set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    grant="let the user of these credentials read the model, and the server be called by this name (--allowed-hosts)",
    renew="set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, anew",
    endpoint="MLFLOW_TRACKING_URI",
)
GIT = Words(
    object_="file",
    bucket="repository",
    credentials="set GIT_USERNAME and GIT_PASSWORD",
    grant="let the user of GIT_USERNAME read the repository",
    renew="get a new GIT_USERNAME and GIT_PASSWORD",
    manifest="(in a ModelDeployment: custom.credentials.secretName)",
)
