"""A module of the kind `echo`. The rules (R1…) are in docs/reference/module-protocol.md."""

import asyncio, base64, contextlib, json, os, time
from datetime import datetime, timezone

import nats, nkeys

VP, INSTANCE = os.environ["MMN_VP"], os.environ["MMN_INSTANCE"]
PREFIX, BOOT = os.environ.get("MMN_PREFIX", "mmn"), time.time_ns() // 1000
JSON = {"Content-Type": "application/json"}
PARAMS = {"type": "object", "properties": {"text": {"type": "string", "default": ""}}, "additionalProperties": False}
RESULT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
KIND = {"name": "echo", "version": "1.0", "description": "gives back the text that it was given",
        "input": "nothing", "params": PARAMS, "result": RESULT}


def now():
    ns = time.time_ns()
    return datetime.fromtimestamp(ns // 10**9, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S") + f".{ns % 10**9:09}Z"


def credentials():  # read each time: the node renews them
    lines = open(os.environ["MMN_CREDS"]).read().splitlines()
    jwt, seed = (lines[i + 1].strip() for i, line in enumerate(lines) if "BEGIN" in line)
    return jwt, nkeys.from_seed(bytearray(seed.encode()))


class Echo:
    def __init__(self):
        self.seen, self.beats, self.done, self.garbage, self.draining = {}, 0, 0, 0, asyncio.Event()

    async def publish(self, subject, message, headers=JSON):
        await self.nc.publish(subject, json.dumps(message).encode(), headers=headers)

    async def announce(self, _asked=None, role=None):  # R4, R5
        message = {"schema": "1.0", "vp": VP, "instance": INSTANCE, "boot": BOOT, "version": "1.0", "started_at": now(),
                   "role": role or {"module": {"module": "echo", "kinds": [KIND]}}}
        jwt, key = credentials()
        signature = base64.urlsafe_b64encode(key.sign(json.dumps(message).encode())).rstrip(b"=").decode()
        headers = JSON | {"Mmn-Jwt": jwt, "Mmn-Signature": signature}
        await self.publish(f"{PREFIX}.modules.announce", message, headers)

    async def beat(self):  # R6
        self.beats += 1
        state, free = ("draining", 0) if self.draining.is_set() else ("ready", 1)
        load = {"running": 0, "queued": 0, "free": free, "done": self.done, "refused": 0, "garbage": self.garbage}
        await self.publish(f"{PREFIX}.v1.hb.{VP}.{INSTANCE}", {
            "boot": BOOT, "seq": self.beats, "sent_at": now(), "interval_ms": 500, "state": state, "load": load})

    async def task(self, message):  # R8 to R12
        try:
            batch = json.loads(message.data)
            [task], params = batch["tasks"], batch.get("params") or {}
        except (ValueError, KeyError, TypeError):  # R7
            self.garbage += 1
            return
        refused = {"code": "draining"} if self.draining.is_set() else None
        if set(params) - {"text"} or not isinstance(params.get("text", ""), str):
            refused = {"code": "parameters", "detail": "text: a string, and nothing else"}
        if refused:
            return await self.publish(message.reply, {"refused": {"instance": INSTANCE, "reason": refused}})
        await self.publish(message.reply, {"accepted": {"instance": INSTANCE, "boot": BOOT, "free": 1}})
        self.seen[batch["anchor"]] = seq = self.seen.get(batch["anchor"], 0) + 1
        record = {"index": task["index"], "attempt": task.get("attempt", 0), "final": True, "outcome": "ok",
                  "started_at": now(), "duration_ns": 0, "body": {"text": params.get("text", "")}}
        self.done += 1
        await self.publish(f"{PREFIX}.v1.res.{VP}.echo.{batch['measurement']}", {
            "instance": INSTANCE, "boot": BOOT, "anchor": batch["anchor"], "epoch": batch["epoch"], "seq": seq,
            "records": [record]})

    async def order(self, message):  # R13 to R15: what it takes it has done at once, so nothing is left to call off
        with contextlib.suppress(ValueError):
            order, answer = json.loads(message.data), {"done": {"tasks": 0}}
            if order == "drain":
                self.draining.set()
            elif "quote" in order:
                answer = {"refused": {"reason": {"code": "unsupported"}}}
            await self.publish(message.reply, answer) if message.reply else None

    async def run(self):
        inbox = f"_INBOX.{credentials()[1].public_key.decode()}"
        self.nc = await nats.connect(os.environ["MMN_NATS_URL"].split(","), name=INSTANCE, max_reconnect_attempts=-1,
                                     user_credentials=os.environ["MMN_CREDS"], inbox_prefix=inbox.encode(),
                                     reconnected_cb=self.announce)
        await self.nc.subscribe(f"{PREFIX}.v1.pool.{VP}.echo", queue="q", cb=self.task)  # R2
        await self.nc.subscribe(f"{PREFIX}.v1.ctl.{VP}.{INSTANCE}", cb=self.order)
        await self.nc.subscribe(f"{PREFIX}.modules.discover", cb=self.announce)
        await self.nc.flush()  # R3: nats-py's flush is a round trip
        await self.announce()
        while not self.draining.is_set():
            await self.beat()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.draining.wait(), 0.5)
        await self.beat()
        await self.announce(role="bye")
        await self.nc.drain()


asyncio.run(Echo().run())
