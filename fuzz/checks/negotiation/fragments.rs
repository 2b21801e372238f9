//! What a client and a server say while they negotiate, usual and hostile. New fragments go to the ends of the lists: the
//! seeds count on the places of the others.

/// What a client may say. `PLAIN` is juliet's with the password; `FOREIGN` names romeo to act as.
pub const CLIENT: &[&str] = &[
    "<stream:stream to='example.org' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
    "<?xml version='1.0'?><s:stream to='EXAMPLE.org' from='juliet@example.org' version='1.0' xml:lang='de' \
     xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' xmlns:a='urn:ietf:params:xml:ns:xmpp-sasl' \
     xmlns:b='urn:ietf:params:xml:ns:xmpp-bind' xmlns:c='jabber:client'>",
    "<stream:stream to='other.example' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
    "<stream:stream to='evil.example' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
    "</stream:stream>",
    "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>PLAIN</auth>",
    "<a:auth mechanism='PLAIN'>PLAIN</a:auth>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>FOREIGN</auth>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>biwsbj1qdWxpZXQscj1hYmM=</auth>",
    "<a:auth mechanism='SCRAM-SHA-1'/>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>bixhPXJvbWVvLG49anVsaWV0LHI9YWJj</auth>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1-PLUS'>cD10bHMtZXhwb3J0ZXIsLG49anVsaWV0LHI9YWJj</auth>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>PLAIN</response>",
    "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>biwsbj1qdWxpZXQscj1hYmM=</response>",
    "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>biwsbj1yb21lbyxyPWFiYw==</response>",
    "<a:response>Yz1iaXdz</a:response>",
    "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>",
    "<enable xmlns='urn:xmpp:sm:3'/>",
    "<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>",
    "<active xmlns='urn:xmpp:csi:0'/>",
    "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
    "<iq type='set' id='b'><b:bind><b:resource>x</b:resource></b:bind></iq>",
    "<c:iq type='set' id='b'><b:bind/></c:iq>",
    "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><query xmlns='jabber:iq:register'/></iq>",
    "<iq type='get' id='b'><query xmlns='jabber:iq:register'/></iq>",
    "<iq type='set' id='b'><query xmlns='jabber:iq:auth'><username>juliet</username></query></iq>",
    "<message to='romeo@example.org'><body>x</body></message>",
    "<presence/>",
    "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
    " \n",
    "<",
];

pub const SERVER: &[&str] = &[
    "<?xml version='1.0'?><stream:stream from='example.org' id='s1' version='1.0' xmlns='jabber:client' \
     xmlns:stream='http://etherx.jabber.org/streams'>",
    "<t:stream from='example.org' id='s2' version='1.0' xmlns='jabber:client' xmlns:sasl='urn:ietf:params:xml:ns:xmpp-sasl' \
     xmlns:t='http://etherx.jabber.org/streams' xmlns:b='urn:ietf:params:xml:ns:xmpp-bind'>",
    "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>\
     <mechanism>SCRAM-SHA-1</mechanism><mechanism>SCRAM-SHA-1-PLUS</mechanism><mechanism>EXTERNAL</mechanism>\
     </mechanisms><sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'/><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\
     <register xmlns='http://jabber.org/features/iq-register'/><authentication xmlns='urn:xmpp:sasl:2'/></stream:features>",
    "<t:features><sasl:mechanisms><sasl:mechanism>SCRAM-SHA-1</sasl:mechanism><sasl:mechanism>ANONYMOUS</sasl:mechanism>\
     </sasl:mechanisms></t:features>",
    "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></stream:features>",
    "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><csi xmlns='urn:xmpp:csi:0'/>\
     <sm xmlns='urn:xmpp:sm:3'/></stream:features>",
    "<t:features><b:bind/></t:features>",
    "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>cj1hYmN4LHM9YWJjZCxpPTQwOTY=</challenge>",
    "<sasl:challenge/>",
    "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<sasl:success>dj1hYmNk</sasl:success>",
    "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>",
    "<iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>juliet@example.org/r</jid></bind></iq>",
    "<iq type='result' id='b'><b:bind><b:jid>juliet@example.org/r</b:jid></b:bind></iq>",
    "<iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>romeo@example.org/r</jid></bind></iq>",
    "<iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>juliet@evil.example/r</jid></bind></iq>",
    "<iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>example.org/r</jid></bind></iq>",
    "<iq type='error' id='b'><error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
    "<iq type='result' id='other'/>",
    "<message from='example.org'><body>welcome</body></message>",
    "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
    "<t:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></t:error>",
    "</stream:stream>",
    "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    " ",
    "<!-- -->",
];
