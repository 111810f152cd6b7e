// Messages of 0 to 900,000 bytes, a ping, a close, a refusal. Token, port.
const WebSocket = require("ws");
const crypto = require("crypto");

const [token, port] = process.argv.slice(2);
const url = `wss://localhost:${port}/ws/chat`;
const fail = (why) => { console.error(why); process.exit(1); };

const refused = new WebSocket(url);
refused.on("open", () => fail("let in without a token"));
refused.on("unexpected-response", (_, answer) => {
  if (answer.statusCode !== 401) fail(answer.statusCode);
  const sizes = [0, 1, 125, 126, 65535, 65536, 900000];
  const socket = new WebSocket(url, { headers: { Authorization: `Bearer ${token}` } });
  let sent;
  const next = () => {
    if (sizes.length === 0) return socket.ping();
    sent = crypto.randomBytes(sizes.shift());
    socket.send(sent);
  };
  socket.on("open", next);
  socket.on("message", (data) => {
    if (!sent.equals(data)) fail("another message came back");
    next();
  });
  socket.on("pong", () => socket.close(1000, "done"));
  socket.on("close", (code) => {
    if (code !== 1000) fail(`closed with ${code}`);
    console.log("0 to 900,000 bytes, a ping, a close, a refusal");
  });
  socket.on("error", fail);
});
refused.on("error", () => {});
