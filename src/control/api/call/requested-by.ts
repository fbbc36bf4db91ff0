/** In whose name something is done: who asks, or for whom they say that they ask. */
export function requestedBy(call: { body: { requestedBy?: string | undefined }; caller: { name: string } }): string {
  return call.body.requestedBy ?? call.caller.name
}
