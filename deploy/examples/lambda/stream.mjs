// Writes a line every now and then; each is with the client as soon as it is written.
export const handler = awslambda.streamifyResponse(async (event, output) => {
  const stream = awslambda.HttpResponseStream.from(output, {
    statusCode: 200,
    headers: { "Content-Type": "text/plain" },
  });
  const lines = Number(event.queryStringParameters?.lines ?? 3);
  for (let line = 1; line <= lines; line++) {
    stream.write(`line ${line}\n`);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  stream.end();
});
