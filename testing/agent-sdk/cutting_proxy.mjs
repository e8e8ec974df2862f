// A proxy before a relay that resets every WebSocket after some messages. It
// prints its address.
//
//   node cutting_proxy.mjs PORT MESSAGES [DELAY_MS] [COUNTED] [AFTER_MS]
//
// PORT is the relay's; 0 messages: never. COUNTED: messages of `both` directions,
// those to the relay (`up`), or those to the client (`down`). `random`: after a
// number of them, drawn for each connection, of up to MESSAGES. `bytes`: after a
// number of bytes, drawn for each connection, of up to MESSAGES, and so within a
// message. AFTER_MS lie between the last message and the reset. `GET /cuts` is
// answered with the number of resets.
import net from "node:net";

const [port, limit, delay = 0] = process.argv.slice(2, 5).map(Number);
const counted = process.argv[5] ?? "both";
const after = Number(process.argv[6] ?? 20);
let cuts = 0;

// Calls `each` for every whole frame, and gives the bytes on as they come.
function frames(each) {
  let buffer = Buffer.alloc(0);
  let head = false;
  return (bytes) => {
    buffer = Buffer.concat([buffer, bytes]);
    const whole = [];
    if (!head) {
      const end = buffer.indexOf("\r\n\r\n");
      if (end < 0) return whole;
      head = true;
      whole.push(buffer.subarray(0, end + 4));
      buffer = buffer.subarray(end + 4);
    }
    for (;;) {
      if (buffer.length < 2) return whole;
      const short = buffer[1] & 0x7f;
      let length = short;
      let header = 2;
      if (short === 126) header = 4;
      if (short === 127) header = 10;
      if (buffer.length < header) return whole;
      if (short === 126) length = buffer.readUInt16BE(2);
      if (short === 127) length = Number(buffer.readBigUInt64BE(2));
      if (buffer[1] & 0x80) header += 4;
      if (buffer.length < header + length) return whole;
      whole.push(buffer.subarray(0, header + length));
      buffer = buffer.subarray(header + length);
    }
  };
}

// As many small numbers of bytes as large ones.
const drawn = () => {
  if (counted === "random") return 1 + Math.ceil(Math.random() * limit);
  return counted === "bytes" ? Math.ceil(limit ** Math.random()) : limit;
};

const server = net.createServer((client) => {
  const relay = net.connect(port, "127.0.0.1");
  const most = drawn();
  let seen = 0;
  // Nothing passes between the last message and the reset: a connection has no holes.
  let cut = false;
  const end = () => {
    client.destroy();
    relay.destroy();
  };
  const carry = (from, to, direction) => {
    const counts = counted === direction || counted === "both" || counted === "random";
    const split = frames();
    let heads = 1;
    from.on("data", (bytes) => {
      if (heads > 0 && bytes.toString("latin1").startsWith("GET /cuts ")) {
        client.end(`HTTP/1.1 200 OK\r\nContent-Length: ${`${cuts}`.length}\r\nConnection: close\r\n\r\n${cuts}`);
        return;
      }
      for (const whole of split(bytes)) {
        if (cut || client.destroyed) return;
        const isHead = heads > 0;
        const left = most - seen;
        const frame = counted === "bytes" && !isHead ? whole.subarray(0, left) : whole;
        const send = () => to.writable && to.write(frame);
        if (delay > 0) setTimeout(send, delay);
        else send();
        if (heads > 0) heads -= 1;
        else if (counted === "bytes") seen += frame.length;
        else if (counts) seen += 1;
        if (most > 0 && seen >= most) {
          cuts += 1;
          cut = true;
          const reset = () => { client.resetAndDestroy(); relay.resetAndDestroy(); };
          if (delay + after > 0) setTimeout(reset, delay + after);
          else reset();
          return;
        }
      }
    });
    from.on("error", end);
    from.on("close", () => setTimeout(end, delay));
  };
  carry(client, relay, "up");
  carry(relay, client, "down");
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
