"""Client of the master's API, and texts and files about runs and their results.

It needs only Python's standard library: `module_utils/ffrtmp` links its modules, because Ansible
copies them to hosts.
"""
