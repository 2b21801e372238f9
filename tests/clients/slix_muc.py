"""What slix_client.py's clients do in rooms and what slixmpp makes of what it is shown there, all by slixmpp's own API.

With the option `parsed` a client tells what it understood as {"event": "parsed", "client": "name", "what": "...", ...};
tests/support/muc.rs is the other end, and tests/support/tokio_muc.rs tells the same of tokio-xmpp.
"""

import asyncio

from slixmpp import JID
from slixmpp.exceptions import PresenceError
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

PLUGINS = ["xep_0249", "xep_0280", "xep_0313", "xep_0410"]
VOICE_REQUEST = "http://jabber.org/protocol/muc#request"


def set_up(client):
    """slixmpp raises no event for presence of type `error` from a room that has shown presence before."""
    client.register_handler(Callback("Refused", StanzaPath("presence@type=error"), lambda p: client.event("refused", p)))


def watch(client):
    """Tells what slixmpp's events say."""

    def tell(what, stanza, **details):
        client.tell("parsed", what=what, room=stanza["from"].bare, nick=stanza["from"].resource, id=stanza["id"],
                    type=stanza["type"], **details)

    def presence(stanza):
        muc, item = stanza["muc"], stanza["muc"]["item"]
        tell("presence", stanza, codes=sorted(muc["status_codes"]), role=muc["role"], affiliation=muc["affiliation"],
             jid=str(muc["jid"]), new_nick=muc["item_nick"], reason=item["reason"], actor=item["actor"]["nick"])

    def message(stanza):
        if stanza["type"] == "chat":
            tell("chat", stanza, body=stanza["body"])

    def sent_copy(stanza):
        copy = stanza["carbon_sent"]
        client.tell("parsed", what="sent copy", room=copy["to"].bare, nick=copy["to"].resource, id=copy["id"],
                    type=copy["type"], body=copy["body"])

    def invitation(stanza):
        invite = stanza["muc"]["invite"]
        tell("invitation", stanza, inviter=str(invite["from"]), reason=invite["reason"])

    def direct_invitation(stanza):
        invite = stanza["groupchat_invite"]
        client.tell("parsed", what="direct invitation", room=invite["jid"], nick="", id=stanza["id"],
                    type=stanza["type"], inviter=str(stanza["from"]), reason=invite["reason"])

    def declined(stanza):
        decline = stanza["muc"]["decline"]
        tell("declined", stanza, invited=str(decline["from"]), reason=decline["reason"])

    def form(stanza):
        values = stanza["form"]["values"]
        if VOICE_REQUEST in (values.get("FORM_TYPE") or []):
            client.voice_request = stanza
            tell("voice request", stanza, asker=values["muc#roomnick"], role=values["muc#role"])

    def error(stanza):
        tell("error", stanza, condition=stanza["error"]["condition"])

    for event, handler in [
        ("groupchat_presence", presence),
        ("groupchat_message", lambda stanza: tell("groupchat", stanza, body=stanza["body"])),
        ("groupchat_subject", lambda stanza: tell("subject", stanza, body=stanza["subject"])),
        ("message", message),
        ("carbon_sent", sent_copy),
        ("groupchat_invite", invitation),
        ("groupchat_direct_invite", direct_invitation),
        ("refused", error),
        ("message_error", error),
    ]:
        client.add_event_handler(event, handler)
    # slixmpp has no event for voice requests, and raises the one for declined invitations on components only.
    client.register_handler(Callback("Declined", StanzaPath("message/muc/decline"), declined))
    client.register_handler(Callback("Voice request", StanzaPath("message/form"), form))


def occupants(client, room):
    seen = client.plugin["xep_0045"].rooms[None].get(JID(room), {})
    keys = ("nick", "role", "affiliation", "jid", "show", "status")
    return [{key: str(entry.get(key) or "") for key in keys} for entry in seen.values()]


async def unless_refused(client, room, doing):
    """Waits for `doing`, or for presence of type `error` from the room."""
    doing = asyncio.ensure_future(doing)
    refused = asyncio.get_running_loop().create_future()

    def on_error(presence):
        if presence["from"].bare == room and not refused.done():
            refused.set_result(presence)

    with client.event_handler("refused", on_error):
        await asyncio.wait([doing, refused], return_when=asyncio.FIRST_COMPLETED)
    if not doing.done():
        doing.cancel()
        raise PresenceError(refused.result())
    return doing.result()


class RoomCommands:
    """One method a command; what it returns is added to the answer."""

    def muc(self, client):
        return self.clients[client].plugin["xep_0045"]

    async def join(self, client, room, nick, timeout=60, **history):
        join = self.muc(client).join_muc_wait(JID(room), nick, timeout=timeout, **history)
        own, subject, _, messages = await unless_refused(self.clients[client], room, join)
        return {"nick": own["from"].resource, "subject": subject["subject"], "history": len(messages),
                "occupants": occupants(self.clients[client], room)}

    async def leave(self, client, room, nick):
        self.muc(client).leave_muc(JID(room), nick)

    async def nick(self, client, room, nick, timeout=60):
        change = self.muc(client).set_self_nick(JID(room), nick, timeout=timeout)
        return {"nick": await unless_refused(self.clients[client], room, change)}

    async def view(self, client, room):
        return {"occupants": occupants(self.clients[client], room)}

    async def settle(self, client):
        """A round trip to the server: slixmpp has understood what came before it."""
        await self.clients[client].plugin["xep_0199"].send_ping(JID(self.clients[client].boundjid.host), timeout=60)

    async def whisper(self, client, room, nick, body, id):
        message = self.clients[client].make_message(mto=f"{room}/{nick}", mbody=body, mtype="chat")
        message["id"] = id
        message.enable("muc")
        message.send()

    async def copies(self, client):
        await self.clients[client].plugin["xep_0280"].enable()

    async def role(self, client, room, nick, role, reason):
        await self.muc(client).set_role(JID(room), nick, role, reason=reason)

    async def affiliation(self, client, room, jid, affiliation, reason):
        await self.muc(client).set_affiliation(JID(room), affiliation, jid=JID(jid), reason=reason)

    async def invite(self, client, room, jid, reason):
        self.muc(client).invite(JID(room), JID(jid), reason)

    async def invite_directly(self, client, room, jid, reason):
        self.clients[client].plugin["xep_0249"].send_invitation(JID(jid), JID(room), reason=reason)

    async def decline(self, client, room, jid, reason):
        self.muc(client).decline(JID(room), JID(jid), reason)

    async def ask_for_voice(self, client, room):
        self.muc(client).request_voice(JID(room), "participant")

    async def grant_voice(self, client, room):
        """Fills in the form of the last request and returns it to the room."""
        form = self.clients[client].voice_request["form"]
        form.reply()
        form["values"] = {"muc#request_allow": True}
        message = self.clients[client].make_message(room)
        message.append(form)
        message.send()

    async def self_ping(self, client, room, nick):
        plugin = self.clients[client].plugin["xep_0410"]
        return {"status": (await plugin.send_self_ping(JID(f"{room}/{nick}"), timeout=60)).name}

    async def archive(self, client, room, max):
        """The bodies, page by page."""
        plugin, pages = self.clients[client].plugin["xep_0313"], []
        async for page in plugin.retrieve(JID(room), iterator=True, rsm={"max": max}):
            pages.append([str(m["mam_result"]["forwarded"]["stanza"]["body"]) for m in page["mam"]["results"]])
        return {"pages": pages}
