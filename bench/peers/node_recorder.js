// The usual answer in JavaScript: a server on Node's `ws` that writes a mono WAV file for each stream, 8 kHz, L16.
//
//     node node_recorder.js PORT FOLDER        (needs ws: npm install --prefix bench/peers ws)
'use strict';

const fs = require('fs');
const path = require('path');
const { WebSocketServer } = require('ws');

const [port, folder] = process.argv.slice(2);
const RATE_HZ = 8000;
let streams = 0;

function header(dataBytes) {
  const head = Buffer.alloc(44);
  head.write('RIFF', 0);
  head.writeUInt32LE(36 + dataBytes, 4);
  head.write('WAVEfmt ', 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(RATE_HZ, 24);
  head.writeUInt32LE(2 * RATE_HZ, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write('data', 36);
  head.writeUInt32LE(dataBytes, 40);
  return head;
}

const server = new WebSocketServer({ host: '127.0.0.1', port: Number(port), perMessageDeflate: false, backlog: 4096 });
server.on('connection', (socket) => {
  const file = path.join(folder, `${streams++}.wav`);
  const out = fs.createWriteStream(file);
  let bytes = 0;
  out.write(header(0));
  socket.on('message', (data, isBinary) => {
    if (!isBinary) return;
    bytes += data.length;
    out.write(data);
  });
  socket.on('close', () => {
    out.end(() => {
      const done = fs.openSync(file, 'r+');
      fs.writeSync(done, header(bytes), 0, 44, 0);
      fs.closeSync(done);
    });
  });
});
process.on('SIGTERM', () => process.exit(0));
