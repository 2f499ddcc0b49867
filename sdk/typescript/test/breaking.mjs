import net from 'node:net';

/**
 * A proxy before the server that breaks off each connection's answer after so many bytes, the next number of the list
 * for the next connection; when the list is at its end nothing is broken off any more.
 */
export async function breaking(target, cuts) {
  const left = [...cuts];
  const sockets = new Set();
  const server = net.createServer(caller => {
    const upstream = net.connect(Number(target.port), target.hostname);
    const isFollowing = left.length > 0;
    let room = Infinity;
    sockets.add(caller).add(upstream);
    caller.on('data', data => {
      // Only streams and sockets are cut: they are what must survive it.
      if (isFollowing && room === Infinity && /isStreaming|\/events\/|Upgrade: websocket/i.test(data.toString())) room = left.shift() ?? Infinity;
      upstream.write(data);
    });
    upstream.on('data', data => {
      caller.write(data.subarray(0, Math.min(room, data.length)));
      room -= data.length;
      if (room <= 0) upstream.destroy();
    });
    for (const [one, other] of [[caller, upstream], [upstream, caller]]) {
      one.on('error', () => {});
      one.on('close', () => { other.destroy(); sockets.delete(one); });
    }
  });
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  return {
    baseUrl: `http://127.0.0.1:${server.address().port}`,
    /** How many cuts have been made. */
    get made() { return cuts.length - left.length; },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
