// Answers a browser's preflight request. The API adds the headers of its CORS configuration, but
// needs a route that answers.
export const handler = async () => ({ statusCode: 204 });
