// Answers a browser's question before a cross-origin call. The API adds what its CORS
// configuration allows; it only wants some route to say yes.
export const handler = async () => ({ statusCode: 204 });
