"""Python runs this first in every process of an audited command: each socket and each write is put on record.

The record is the file that $AUDIT_RECORD names, one JSON line each: which program, which event, which address or path.
"""

import json
import os
import sys

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PATHS = {"os.mkdir": 2, "os.remove": 1, "os.rmdir": 1, "os.chmod": 2, "os.rename": 2, "os.link": 2}
"""Events, and where among their arguments the folder stands that their path is relative to; -1 is the current one."""
NETWORK = {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}
RECORD = os.open(os.environ["AUDIT_RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
PROGRAM = " ".join(sys.orig_argv[1:4])


def note(event, what):
    os.write(RECORD, json.dumps([PROGRAM, event, str(what)]).encode() + b"\n")


def full(path, folder=-1):
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    beginning = os.getcwd() if folder == -1 else os.readlink(f"/proc/self/fd/{folder}")
    return os.path.normpath(os.path.join(beginning, os.fsdecode(path)))


def hook(event, arguments):
    if event in NETWORK:
        note(event, arguments[1] if event == "socket.connect" else arguments[:2])
    elif event == "open" and arguments[2] & WRITING and full(arguments[0]):
        note(event, full(arguments[0]))
    elif event in PATHS:
        note(event, full(arguments[0], arguments[PATHS[event]]))
        if event in ("os.rename", "os.link"):
            note(event, full(arguments[1], arguments[3]))


sys.addaudithook(hook)
