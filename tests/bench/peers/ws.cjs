// `ws` as its documentation broadcasts: `send` for each client that is open.
const { createInterface } = require("node:readline");
const { WebSocket, WebSocketServer } = require("ws");

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  console.log(server.address().port);
});

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const message = Buffer.from(line);
    for (const client of server.clients) {
      if (client.readyState === WebSocket.OPEN) client.send(message, { binary: false });
    }
  })
  .on("close", () => process.exit(0));
