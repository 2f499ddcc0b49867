import net from 'node:net';

/**
 * Starts a proxy in front of the server that cuts connections. The nth stream or socket is cut
 * after the nth number of bytes from the server; after the last number, connections are no longer
 * cut.
 */
export async function cuttingProxy(target, cuts) {
  const remaining = [...cuts];
  const sockets = new Set();
  const server = net.createServer(client => {
    const upstream = net.connect(Number(target.port), target.hostname);
    const mayCut = remaining.length > 0;
    let budget = Infinity;
    sockets.add(client).add(upstream);
    client.on('data', data => {
      // Only streams and sockets are cut, because only they resume.
      if (mayCut && budget === Infinity && /isStreaming|\/events\/|Upgrade: websocket/i.test(data.toString())) budget = remaining.shift() ?? Infinity;
      upstream.write(data);
    });
    upstream.on('data', data => {
      client.write(data.subarray(0, Math.min(budget, data.length)));
      budget -= data.length;
      if (budget <= 0) upstream.destroy();
    });
    for (const [socket, peer] of [[client, upstream], [upstream, client]]) {
      socket.on('error', () => {});
      socket.on('close', () => { peer.destroy(); sockets.delete(socket); });
    }
  });
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  return {
    baseUrl: `http://127.0.0.1:${server.address().port}`,
    /** Number of connections that were cut. */
    get cuts() { return cuts.length - remaining.length; },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
