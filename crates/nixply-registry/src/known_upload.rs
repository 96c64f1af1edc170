//! Uploads of large layers whose digest and size are known although they are still being made: POST and one PUT with a
//! length, which every registry takes.

use crate::Subject;
use crate::buffer::StreamedLayer;
use crate::outgoing::SentBytes;
use crate::repository::{FoundBlob, Repository, check_digest};
use crate::request::Ask;
use crate::retry::Failure;
use crate::stream_upload::{Resume, StreamFailure, Streaming};
use crate::upload::{UploadSession, blob_headers};
use nixply_oci::{Digest, LayerRecord};
use reqwest::header::{CONTENT_LENGTH, HeaderValue};
use reqwest::{Method, StatusCode};

impl Repository {
    /// Sends a layer while it is made, whose record is known. It has to be begun again when it breaks off: what a
    /// registry keeps of a broken PUT is nowhere specified.
    pub(crate) async fn upload_known(
        &self,
        record: &LayerRecord,
        stream: StreamedLayer,
        session: Option<UploadSession>,
        from: Option<Resume>,
        subject: &Subject,
        sent: &SentBytes,
    ) -> Result<(), StreamFailure> {
        let streaming = Streaming::new(self, from.as_ref(), subject, sent);
        let session = match session {
            Some(session) => session,
            None => self.start_upload(subject).await?,
        };
        let digest = Digest::from(record.digest);
        let mut location = session.location;
        location
            .query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        let ask = Ask::new(Method::PUT, location, subject).waits_for_storage();
        let mut headers = blob_headers();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(record.size_bytes));
        let answer = streaming.exchange_layer(&ask, headers, stream).await?;
        let failure = match answer {
            Ok(answer) => match self.accepted(ask.named(), answer).await {
                Ok(answer) if answer.status() == StatusCode::CREATED => {
                    return Ok(check_digest(&answer, digest, subject)?);
                }
                Ok(answer) => return Err(ask.named().unexpected(201, &answer).into()),
                // What a session's end or an old token is to blame for passes.
                Err(failure) => match failure.status() {
                    Some(401 | 404 | 409 | 416) => Failure::passing(failure.error),
                    _ => failure,
                },
            },
            Err(failure) => failure,
        };
        let failure = streaming.lost(failure).await;
        if let StreamFailure::Interrupted { .. } = failure {
            // Perhaps only the answer was lost.
            let found = self.find_blob(digest, record.size_bytes, subject).await?;
            if found == FoundBlob::Whole {
                return Ok(());
            }
        }
        Err(failure)
    }
}
