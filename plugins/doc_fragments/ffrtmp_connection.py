"""Documentation of the options with which modules connect to the master."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of `CONNECTION` in module_utils. Each module describes the role of its token."""

    DOCUMENTATION = r"""
options:
  master_url:
    description:
      - URL of the master, such as V(https://10.0.0.5:8080). It must not contain a user or a
        password.
    type: str
    required: true
  token:
    description:
      - API token. White space at its beginning and end is ignored.
    type: str
    required: true
  ca_file:
    description:
      - Path, on the host that runs the module, of the certificate of the farm's CA.
      - The master's certificate must be signed by this CA; no other CA is trusted.
    type: path
    required: true
  client_cert:
    description:
      - Path, on the host that runs the module, of a client certificate. Required when the master
        verifies the certificates of clients.
    type: path
  client_key:
    description:
      - Path of the private key of O(client_cert), if it is not in the same file.
    type: path
  timeout_s:
    description:
      - Timeout of each network operation of a request, in seconds, from 0.1 to 3600.
    type: float
    default: 30.0
"""
