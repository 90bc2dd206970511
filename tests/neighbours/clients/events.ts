// The data of a stream of server-sent events, one JSON each, as they come: for clients that have none of this.
export async function* events(answer: Response): AsyncGenerator<unknown> {
  let rest = '';
  for await (const part of answer.body!.pipeThrough(new TextDecoderStream()) as unknown as AsyncIterable<string>) {
    const blocks = (rest + part).split('\n\n');
    rest = blocks.pop()!;
    for (const block of blocks) {
      const data = /^data: (.*)$/m.exec(block)?.[1];
      if (data !== undefined && !/^event: end$/m.test(block)) yield JSON.parse(data);
    }
  }
}
