#!/usr/bin/env python3
"""Mails notifications: a line of JSON each on standard input, all of them to one recipient, as one message.

Says with a line each what became of them. The message goes to `sendmail`, or to the program that $SENDMAIL names.
"""
import json
import os
import subprocess
import sys
from email.message import EmailMessage

notes = [json.loads(line) for line in sys.stdin]
message = EmailMessage()
message["From"] = "orders@example.org"
message["To"] = notes[0]["to"]
message["Subject"] = notes[0]["subject"] if len(notes) == 1 else f"{len(notes)} notifications"
message.set_content("\n\n".join(f"{note['subject']}\n{note['text']}" for note in notes))

program = os.environ.get("SENDMAIL", "/usr/sbin/sendmail -t -i").split()
mailer = subprocess.run(program, input=message.as_bytes(), stdout=subprocess.DEVNULL, check=False)
if mailer.returncode == 67:  # EX_NOUSER: no other try can help
    answer = {"error": f"nobody is called {notes[0]['to']}", "fatal": True, "class": "mail:unknown"}
elif mailer.returncode != 0:
    answer = {"error": f"{program[0]} ended with {mailer.returncode}"}
else:
    answer = {"output": {"mailed_with": len(notes)}}
for _ in notes:
    print(json.dumps(answer))
