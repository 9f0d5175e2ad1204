"""Who we are to an MLflow server: what asks for versions and what brings the files read the same variables."""

import base64
from collections.abc import Mapping
from typing import NamedTuple


class Login(NamedTuple):
    """Who we are to the server. Empty is nobody."""

    token: str = ""
    username: str = ""
    password: str = ""

    def build_headers(self) -> dict[str, str]:
        """As MLflow's own client says it: a name and password count before a token."""
        if self.username and self.password:
            both = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            return {"Authorization": f"Basic {both}"}
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def read_login(environ: Mapping[str, str]) -> Login:
    """The variables that MLflow's own client reads."""
    return Login(*(environ.get(f"MLFLOW_TRACKING_{name}", "").strip() for name in ("TOKEN", "USERNAME", "PASSWORD")))
