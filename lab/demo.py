"""The main job, shown with real clients (slixmpp): two clients of one account and one of another join a room through
the proxy; an observer joins it past the proxy and tells what the room is like.

Prints what each of them sees. Ends with 0 only when all of it is right: see `check`.
"""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

import slixmpp

PATIENCE = 30


class Client(slixmpp.ClientXMPP):
    """One client of one account."""

    def __init__(self, user, label, args):
        super().__init__(f"{user}@{args.domain}", user)
        self.label, self.bodies, self.comings = f"{user}'s {label}", [], []
        self.ca_certs = Path(args.ca)
        self.enable_direct_tls, self.enable_starttls, self.enable_plaintext = False, True, False
        for plugin in ("xep_0030", "xep_0045", "xep_0199"):
            self.register_plugin(plugin)
        self.room = slixmpp.JID(f"{args.room}@conference.{args.domain}")
        self.ready = asyncio.get_running_loop().create_future()
        self.add_event_handler("session_start", self.on_session)
        self.add_event_handler("failed_all_auth", lambda _: self.on_failure("the login was refused"))
        self.add_event_handler("connection_failed", lambda e: self.on_failure(f"cannot connect: {e}"))
        self.add_event_handler("ssl_invalid_chain", lambda e: self.on_failure(f"bad certificate: {e}"))
        self.add_event_handler("disconnected", lambda e: self.on_failure(f"disconnected: {e}"))
        self.add_event_handler("groupchat_message", lambda m: self.bodies.append(m["body"]))
        self.add_event_handler(f"muc::{self.room}::got_online", lambda p: self.on_coming("+", p))
        self.add_event_handler(f"muc::{self.room}::got_offline", lambda p: self.on_coming("-", p))

    async def on_session(self, _event):
        await self.get_roster()
        self.send_presence()
        if not self.ready.done():
            self.ready.set_result(True)

    def on_failure(self, why):
        if not self.ready.done():
            self.cancel_connection_attempt()
            self.ready.set_exception(ConnectionError(f"{self.label}: {why}"))

    def on_coming(self, sign, presence):
        self.comings.append(sign + presence["from"].resource)

    async def enter(self, address, nick):
        host, port = address.rsplit(":", 1)
        self.connect(host, int(port))
        await asyncio.wait_for(self.ready, PATIENCE)
        muc = self.plugin["xep_0045"]
        own, *_ = await muc.join_muc_wait(self.room, nick, maxstanzas=0, timeout=PATIENCE)
        return own["from"].resource

    def say(self, body):
        self.send_message(mto=self.room, mbody=body, mtype="groupchat")

    def occupants(self):
        return sorted(self.plugin["xep_0045"].rooms[None].get(self.room, {}))


async def until(what, condition):
    """Waits until `condition()` holds; a demo client's state changes only between awaits."""
    for _ in range(PATIENCE * 20):
        if condition():
            return True
        await asyncio.sleep(0.05)
    print(f"  ! waited in vain until {what}")
    return False


def check(wrong, holds, what):
    print(f"  {'ok ' if holds else 'NOT'}  {what}")
    if not holds:
        wrong.append(what)


async def main(args):
    logging.basicConfig(level=logging.CRITICAL)
    wrong = []
    observer = Client("carol", "client, past the proxy", args)
    phone, laptop = Client("alice", "phone", args), Client("alice", "laptop", args)
    desk = Client("bob", "desktop", args)
    room = observer.room
    await observer.enter(args.server, "Carol")
    for client, nick in ((phone, "Alice"), (laptop, "Alice-at-her-laptop"), (desk, "Bob")):
        got = await client.enter(args.proxy, nick)
        print(f"  {client.label} joined {room} as {nick}" + (f": it is {got}" if got != nick else ""))
    everyone = (observer, phone, laptop, desk)
    await until("the observer sees Bob", lambda: "Bob" in observer.occupants())

    desk.say("hello from Bob")
    laptop.say("hello from Alice's laptop")
    both = {"hello from Bob", "hello from Alice's laptop"}
    await until("all have both messages", lambda: all(both <= set(c.bodies) for c in everyone))

    print(f"\nThe room, as the server shows it to carol (who is not behind the proxy):\n    {', '.join(observer.occupants())}")
    for client in (phone, laptop, desk):
        print(f"{client.label} sees:\n    {', '.join(client.occupants())}\n    messages: {'; '.join(client.bodies)}")
    print()
    check(wrong, observer.occupants() == ["Alice", "Bob", "Carol"], "the room has one occupant per account")
    views = [client.occupants() for client in everyone]
    check(wrong, all(view == views[0] for view in views), "every client sees the room as it is")
    once = all(sorted(client.bodies) == sorted(both) for client in everyone)
    check(wrong, once, "every client got every message, once")

    seen = len(observer.comings)
    phone.abort()
    desk.say("is Alice still there?")
    await until("the laptop has it", lambda: "is Alice still there?" in laptop.bodies)
    again = Client("alice", "phone, back again", args)
    await again.enter(args.proxy, "Alice")
    desk.say("welcome back")
    await until("the phone has it", lambda: "welcome back" in again.bodies)
    await until("the observer has it", lambda: "welcome back" in observer.bodies)
    check(wrong, observer.comings[seen:] == [], "alice's phone was cut off and came back: the room did not notice")

    for client in (again, laptop, desk, observer):
        await client.disconnect()
    print(f"\n{'Not what it should be: ' + '; '.join(wrong) if wrong else 'All as it should be.'}")
    return 1 if wrong else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--proxy", required=True, help="HOST:PORT of the proxy")
    parser.add_argument("--server", required=True, help="HOST:PORT of the server behind it")
    parser.add_argument("--ca", required=True, help="the authority to trust, PEM")
    parser.add_argument("--domain", default="localhost")
    parser.add_argument("--room", default="kitchen")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(arguments())))
    except Exception as error:
        print(f"demo: {type(error).__name__}: {error}")
        sys.exit(1)
