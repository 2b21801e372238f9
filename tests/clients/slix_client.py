"""Real slixmpp clients, driven by JSON lines: commands on standard input, events on standard output.

One process hosts many clients. A command is {"req": n, "client": "name", "do": "...", ...}; its answer is
{"event": "result", "req": n, "ok": true|false, ...}. Every stanza a client receives is told byte for byte as
{"event": "stanza", "client": "name", "xml": "..."}: see RawSplitter. tests/support/driver.rs is the other end. What
clients do in rooms is in slix_muc.py.
"""

import asyncio
import contextvars
import json
import logging
import sys
from pathlib import Path
from xml.parsers import expat

import slixmpp
from slixmpp.exceptions import IqError, XMPPError

import slix_muc

STANZAS = ("message", "presence", "iq")


def emit(**event):
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


class RawSplitter:
    """Cuts a stream into its top-level elements as the bytes they came in (slixmpp itself keeps only trees)."""

    def __init__(self, tell):
        self.tell = tell
        self.buffer, self.base, self.depth = b"", 0, 0
        self.start, self.first_tag_end, self.done, self.name = 0, 0, 0, ""
        self.parser = expat.ParserCreate()
        if hasattr(self.parser, "SetReparseDeferralEnabled"):
            self.parser.SetReparseDeferralEnabled(False)
        self.parser.StartElementHandler = self.on_start
        self.parser.EndElementHandler = self.on_end

    def feed(self, data):
        self.buffer += data
        try:
            self.parser.Parse(data, False)
        except expat.ExpatError as error:
            self.tell("malformed", text=str(error))
        keep = self.start if self.depth > 1 else self.done
        self.buffer, self.base = self.buffer[keep - self.base:], keep

    def tag_end(self, tag):
        """Behind the `>` of the tag that begins at `tag`."""
        at, quote = tag - self.base, 0
        while True:
            byte = self.buffer[at]
            at += 1
            if quote:
                quote = 0 if byte == quote else quote
            elif byte in b"'\"":
                quote = byte
            elif byte == 0x3E:
                return self.base + at

    def tell_up_to(self, event, end):
        self.done = end
        self.tell(event, xml=self.buffer[self.start - self.base:end - self.base].decode())

    def on_start(self, name, _attributes):
        self.depth += 1
        if self.depth > 2:
            return
        self.start, self.name = self.parser.CurrentByteIndex, name
        self.first_tag_end = self.tag_end(self.start)
        if self.depth == 1:
            self.tell_up_to("header", self.first_tag_end)

    def on_end(self, _name):
        self.depth -= 1
        if self.depth == 1:
            # expat's index is the start of an end tag, but for an empty element the end of its only tag.
            empty = self.buffer[self.first_tag_end - self.base - 2] == 0x2F
            end = self.first_tag_end if empty else self.tag_end(self.parser.CurrentByteIndex)
            self.tell_up_to("stanza" if self.name in STANZAS else "nonza", end)
        elif self.depth == 0:
            self.tell("stream_end")


# The address that connections made in this context come from.
SOURCE = contextvars.ContextVar("source", default=None)


class Loop(asyncio.SelectorEventLoop):
    async def create_connection(self, *args, **options):
        if SOURCE.get():
            options["local_addr"] = (SOURCE.get(), 0)
        return await super().create_connection(*args, **options)


class Client(slixmpp.ClientXMPP):
    """slixmpp as it comes, but that it tells what it receives and never reconnects by itself."""

    def __init__(self, name, options):
        mechanisms = {"unencrypted_plain": True, "unencrypted_scram": True}
        super().__init__(
            options["jid"], options["password"], sasl_mech=options.get("mechanism"),
            lang=options.get("lang", "en"), plugin_config={"feature_mechanisms": mechanisms},
        )
        self.name, self.options = name, options
        self.splitter, self.over = None, False
        self.connected = asyncio.get_running_loop().create_future()
        self.enable_direct_tls = options.get("tls") == "direct"
        self.enable_starttls = options.get("tls", "starttls") == "starttls"
        self.enable_plaintext = options.get("tls") == "none"
        if options.get("ca"):
            self.ca_certs = Path(options["ca"])
        parsed = slix_muc.PLUGINS if options.get("parsed") else []
        for plugin in ["xep_0030", "xep_0045", "xep_0092", "xep_0199", *parsed, *options.get("plugins", [])]:
            self.register_plugin(plugin)
        slix_muc.set_up(self)
        if parsed:
            slix_muc.watch(self)
        self.add_event_handler("session_start", self.on_session)
        self.add_event_handler("failed_all_auth", lambda _: self.fail("failed_auth", "authentication failed"))
        self.add_event_handler("connection_failed", lambda e: self.fail("connection_failed", str(e)))
        self.add_event_handler("ssl_invalid_chain", lambda e: self.fail("bad_certificate", str(e)))
        self.add_event_handler("stream_error", lambda e: self.tell("stream_error", condition=e["condition"]))
        self.add_event_handler("disconnected", self.on_disconnected)

    def tell(self, event, **details):
        emit(event=event, client=self.name, **details)

    def fail(self, event, why):
        self.tell(event, text=why)
        if not self.connected.done():
            self.connected.set_exception(ConnectionError(f"{event}: {why}"))
        self.cancel_connection_attempt()
        self.abort()

    async def on_session(self, _event):
        self.tell("connected", jid=self.boundjid.full)
        if self.options.get("presence", True):
            try:
                await self.get_roster()
            except IqError:
                pass
            self.send_presence()
        if not self.connected.done():
            self.connected.set_result(self.boundjid.full)

    def on_disconnected(self, reason):
        if not self.over:
            self.over = True
            self.tell("disconnected", text=str(reason or ""))
        if not self.connected.done():
            self.connected.set_exception(ConnectionError(f"disconnected: {reason}"))

    def init_parser(self):
        super().init_parser()
        self.splitter = RawSplitter(self.tell)

    def data_received(self, data):
        if self.splitter is not None:
            self.splitter.feed(data)
        super().data_received(data)


class Commands(slix_muc.RoomCommands):
    """One method a command; what it returns is added to the answer."""

    def __init__(self):
        self.clients = {}

    async def connect(self, client, host, port, timeout=60, source=None, **options):
        SOURCE.set(source)
        old = self.clients.pop(client, None)
        if old is not None and old.transport is not None:
            old.abort()
        new = self.clients[client] = Client(client, options)
        new.connect(host, port)
        return {"jid": await asyncio.wait_for(new.connected, timeout)}

    async def message(self, client, to, body, type, id):
        message = self.clients[client].make_message(mto=to, mbody=body, mtype=type)
        message["id"] = id
        message.send()

    async def presence(self, client, to=None, type=None, show=None, status=None):
        self.clients[client].send_presence(pto=to, ptype=type, pshow=show, pstatus=status)

    async def raw(self, client, xml):
        self.clients[client].send_raw(xml)

    async def cut(self, client):
        """Ends the connection as a dying network would: no stream close, no TLS close."""
        self.clients[client].abort()

    async def disconnect(self, client):
        await self.clients[client].disconnect()


async def answer(commands, line):
    command = json.loads(line)
    req, do = command.pop("req"), command.pop("do")
    try:
        emit(event="result", req=req, ok=True, **(await getattr(commands, do)(**command) or {}))
    except XMPPError as error:
        emit(event="result", req=req, ok=False, error=error.condition, text=error.text)
    except Exception as error:  # whatever it is, the test shall hear of it
        emit(event="result", req=req, ok=False, error=type(error).__name__, text=str(error))


async def main():
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    reader = asyncio.StreamReader(limit=1 << 26)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    commands, tasks = Commands(), set()
    while line := await reader.readline():
        task = asyncio.ensure_future(answer(commands, line))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


with asyncio.Runner(loop_factory=Loop) as runner:
    runner.run(main())
