"""Rate-distortion curves of encoders, differences between them, and what is uncertain about these.

The modules of this package need only the standard library, because `ffrtmp_client` and the Ansible
modules link them. Their imports are relative for the same reason.
"""
