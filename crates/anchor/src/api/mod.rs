//! The HTTP side: REST under `/api/v1`, the WebSocket, the documents.
