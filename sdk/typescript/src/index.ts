export { Parley, type ParleyOptions } from './client.js';
export { DisconnectedError, type Problem, type ProblemCode, ProblemError } from './problem.js';
export type { components, operations, paths } from './schema.js';
export { type Delivered, FrameError, ParleySocket, type ServerFrame, type SocketOptions, type WebSocketLike } from './socket.js';
export { type CompletionCreate, type CompletionEvent, ReplyStream, type StreamOptions } from './stream.js';
