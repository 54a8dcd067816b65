"""A session as people write it with proxmoxer: log in, look around, start a guest, wait.

The connection comes as one JSON object on stdin: host, port, ca, user, password. Every step
that holds prints a line; the first that does not ends the script with what was expected.
"""

import json
import sys

from proxmoxer import AuthenticationError, ProxmoxAPI, ResourceException
from proxmoxer.tools import Tasks

NODES = ["pve1", "pve2", "pve3"]
TOKEN = "e2e-session"


def expect(what, expected, seen):
    if expected != seen:
        sys.exit(f"{what}: expected {expected!r}, got {seen!r}")
    print(f"ok: {what}")


def connect(at, **credentials):
    return ProxmoxAPI(
        at["host"], port=at["port"], user=at["user"], verify_ssl=at["ca"], timeout=30, **credentials
    )


def guest_that_is_stopped(proxmox, kind):
    for node in NODES:
        for guest in getattr(proxmox.nodes(node), kind).get():
            if guest["status"] == "stopped":
                return node, guest["vmid"]
    sys.exit(f"no stopped guest of kind {kind} in the cluster")


def look_around(proxmox, who):
    nodes = proxmox.nodes.get()
    expect(f"{who}: names of the nodes", NODES, sorted(node["node"] for node in nodes))
    expect(f"{who}: status of the nodes", {"online"}, {node["status"] for node in nodes})
    listed = {
        (guest["vmid"], kind)
        for node in NODES
        for kind in ("qemu", "lxc")
        for guest in getattr(proxmox.nodes(node), kind).get()
    }
    resources = proxmox.cluster.resources.get(type="vm")
    expect(f"{who}: guests are there", True, len(listed) > 0)
    expect(
        f"{who}: guests of the nodes are the guests of the cluster",
        sorted(listed),
        sorted((guest["vmid"], guest["type"]) for guest in resources),
    )


def power(proxmox, who, kind, action, status, node, vmid):
    guest = getattr(proxmox.nodes(node), kind)(vmid)
    upid = getattr(guest.status, action).post()
    expect(f"{who}: node of the task", node, Tasks.decode_upid(upid)["node"])
    task = Tasks.blocking_status(proxmox, upid, timeout=30, polling_interval=0.1)
    expect(f"{who}: {kind} {action} ended in time", True, task is not None)
    expect(f"{who}: {kind} {action}", "OK", task["exitstatus"])
    expect(f"{who}: {kind} afterwards", status, guest.status.current.get()["status"])
    log = Tasks.decode_log(proxmox.nodes(node).tasks(upid).log.get())
    expect(f"{who}: last line of the task's log", "TASK OK", log.splitlines()[-1])


def start_and_stop(proxmox, who, kind):
    node, vmid = guest_that_is_stopped(proxmox, kind)
    power(proxmox, who, kind, "start", "running", node, vmid)
    power(proxmox, who, kind, "stop", "stopped", node, vmid)


def refused(call, what, status, words):
    """PVE puts its message into the reason phrase, and proxmoxer takes it from there."""
    try:
        call()
    except ResourceException as error:
        expect(f"{what}: status", status, error.status_code)
        if words not in error.content:
            sys.exit(f"{what}: expected a reason with {words!r}, got {error.content!r}")
        print(f"ok: {what}: {error.content}")
    else:
        sys.exit(f"{what}: was not refused")


def main():
    at = json.load(sys.stdin)
    password = at.pop("password")

    session = connect(at, password=password)
    look_around(session, "password")
    start_and_stop(session, "password", "qemu")
    refused(
        session.nodes("pve1").qemu(999999).config.get,
        "a guest that does not exist",
        500,
        "999999.conf' does not exist",
    )
    refused(session("no/such/path").get, "a path that does not exist", 501, "not implemented")

    tokens = session.access.users(at["user"]).token
    created = tokens(TOKEN).post(privsep=0, comment="end-to-end test")
    expect("id of the new token", f"{at['user']}!{TOKEN}", created["full-tokenid"])
    token = connect(at, token_name=TOKEN, token_value=created["value"])
    look_around(token, "token")
    start_and_stop(token, "token", "lxc")
    tokens(TOKEN).delete()
    refused(token.nodes.get, "a deleted token", 401, "Authentication failed!")

    try:
        connect(at, password=f"not {password}")
    except AuthenticationError as error:
        expect("a wrong password: says 401", True, "401" in str(error))
    else:
        sys.exit("a wrong password was accepted")
    print("done")


main()
