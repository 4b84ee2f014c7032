// socket.io as its documentation broadcasts: `io.emit`. WebSockets only, and no pings while it is measured.
const { createServer } = require("node:http");
const { createInterface } = require("node:readline");
const { Server } = require("socket.io");

const HOUR_MS = 3_600_000;
const http = createServer();
const io = new Server(http, { transports: ["websocket"], pingInterval: HOUR_MS, pingTimeout: HOUR_MS });

http.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => console.log(http.address().port));

createInterface({ input: process.stdin })
  .on("line", (line) => io.emit("event", JSON.parse(line)))
  .on("close", () => process.exit(0));
