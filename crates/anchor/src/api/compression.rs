//! Whole answers are compressed for those who take it, as browsers do. Streams never are: what would wait in a compressor for more
//! is to be seen at once.

use axum::http::{Extensions, HeaderMap, StatusCode, Version, header};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{And, Predicate as _, SizeAbove};

/// Below that it costs more than it saves.
const LEAST_BYTES: u64 = 1024;
/// What comes as a whole.
const WHOLE: &[&str] = &["application/json", "application/cbor", "application/problem+json", "text/plain"];

type IsWhole = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

/// Compresses with gzip, as fast as that goes.
pub(super) fn layer() -> CompressionLayer<And<SizeAbove, IsWhole>> {
    let worth = SizeAbove::new(LEAST_BYTES).and(is_whole as IsWhole);
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(worth)
}

fn is_whole(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    WHOLE.contains(&media.split(';').next().unwrap_or_default().trim())
}
