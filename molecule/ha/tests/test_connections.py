"""Many agents behind the load balancer, which all reach the masters from its address."""

import json

from .conftest import Machine, host_named

testinfra_hosts = ["ansible://worker"]

AGENTS = 100
WAIT_S = 5

# This program runs on a worker. Each connection waits for a job, as an agent does.
_CLAIM = """
import asyncio, json, ssl, sys
host, node, agents, wait_s = json.loads(sys.argv[1])
folder = "/etc/ffmpeg-rtmp/"
context = ssl.create_default_context(cafile=folder + "pki/ca.pem")
context.load_cert_chain(folder + "pki/host.pem", folder + "pki/host.key")
token = open(folder + "agent.token").read().strip()

async def claim(slot):
    body = json.dumps({"node": node, "slot": slot, "wait_s": wait_s})
    reader, writer = await asyncio.open_connection(host, 8080, ssl=context)
    lines = ["POST /v1/claims HTTP/1.1", "Host: " + host, "Authorization: Bearer " + token]
    lines += ["Content-Type: application/json", "Content-Length: %d" % len(body), "", body]
    writer.write("\\r\\n".join(lines).encode())
    status = (await reader.readline()).decode().split()
    writer.close()
    return status[1] if status else "closed"

async def main():
    # The slots of the agents on this host are not used.
    found = await asyncio.gather(
        *(claim(100 + number) for number in range(agents)), return_exceptions=True
    )
    print(json.dumps([str(status) for status in found]))

asyncio.run(main())
"""


def test_many_agents_claim_through_the_load_balancer(machine: Machine) -> None:
    front = host_named("front1").ansible.get_variables()["ansible_host"]
    parameters = json.dumps([front, machine.variables["inventory_hostname"], AGENTS, WAIT_S])
    output = machine.host.check_output("python3 -c %s %s", _CLAIM, parameters)
    assert set(json.loads(output)) == {"204"}
