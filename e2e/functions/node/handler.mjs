// Echoes its event; with {"fail": "…"} it fails.
export async function handler(event, context) {
  if (event.fail) throw new TypeError(event.fail);
  console.log("handling", context.awsRequestId);
  return { echo: event, requestId: context.awsRequestId, arn: context.invokedFunctionArn };
}

// Streams event.chunks, then fails if it should.
export const stream = awslambda.streamifyResponse(async (event, output) => {
  output.setContentType("text/plain");
  for (const chunk of event.chunks) {
    output.write(chunk);
    await new Promise((resolve) => setTimeout(resolve, event.pause ?? 0));
  }
  if (event.fail) throw new Error(event.fail);
  output.end();
});
