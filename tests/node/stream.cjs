// Streams a file to a media address with the package ws: node stream.cjs ORDER, a JSON object.
// Prints what the server made of the handshake, of a ping and of the close, as one line of JSON.
'use strict'
const { readFileSync } = require('node:fs')
const WebSocket = require('ws')

const order = JSON.parse(process.argv[2])
const audio = readFileSync(order.file)
const socket = new WebSocket(order.url, order.protocols, { perMessageDeflate: order.compress })
const said = { extensions: null, protocol: null, pong: null, code: null }

socket.on('open', () => {
  said.extensions = socket.extensions
  said.protocol = socket.protocol
  socket.send(order.text)
  for (let at = 0, number = 0; at < audio.length; at += order.bytes, number += 1) {
    const message = audio.subarray(at, at + order.bytes)
    if (number % 2 === 0) {
      socket.send(message)
    } else {
      socket.send(message.subarray(0, 101), { fin: false })
      socket.send(message.subarray(101, 200), { fin: false })
      socket.send(message.subarray(200), { fin: true })
    }
  }
  socket.ping('are you there')
})
socket.on('pong', (payload) => {
  said.pong = payload.toString()
  socket.close(1000)
})
socket.on('close', (code) => {
  said.code = code
  console.log(JSON.stringify(said))
})
