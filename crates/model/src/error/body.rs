//! The JSON body of an error.

use super::ApiError;
use crate::json::{write_item, write_string};

impl ApiError {
    /// Appends the body: `__type`, the text, and the item or cancellation reasons where there are any.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"__type\":");
        write_string(self.code.type_name(), out);
        if !self.reasons.is_empty() {
            out.extend_from_slice(b",\"CancellationReasons\":[");
            for (index, reason) in self.reasons.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(b"{\"Code\":");
                write_string(reason.code.unwrap_or("None"), out);
                if let Some(item) = &reason.item {
                    out.extend_from_slice(b",\"Item\":");
                    write_item(item, out);
                }
                if let Some(message) = &reason.message {
                    out.extend_from_slice(b",\"Message\":");
                    write_string(message, out);
                }
                out.push(b'}');
            }
            out.push(b']');
        }
        if let Some(item) = &self.item {
            out.extend_from_slice(b",\"Item\":");
            write_item(item, out);
        }
        if !self.message.is_empty() {
            out.push(b',');
            write_string(self.code.message_member(), out);
            out.push(b':');
            write_string(&self.message, out);
        }
        out.push(b'}');
    }

    /// The body as [`ApiError::write_json`] writes it.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.message.len());
        self.write_json(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use crate::error::{ApiError, CancellationReason, ErrorCode};
    use crate::{AttributeValue, Item};

    #[track_caller]
    fn check(error: &ApiError, status: u16, json: &str) {
        assert_eq!(String::from_utf8(error.to_json()).unwrap(), json);
        assert_eq!(error.code.status(), status);
    }

    #[test]
    fn bodies() {
        check(
            &ApiError::validation("a \"quoted\" text"),
            400,
            r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"a \"quoted\" text"}"#,
        );
        check(
            &ApiError::new(ErrorCode::Serialization, ""),
            400,
            r#"{"__type":"com.amazon.coral.service#SerializationException"}"#,
        );
        check(
            &ApiError::new(ErrorCode::Serialization, "Unexpected field type"),
            400,
            r#"{"__type":"com.amazon.coral.service#SerializationException","Message":"Unexpected field type"}"#,
        );
        let item = Item::from([("a".to_string(), AttributeValue::N(1i64.into()))]);
        check(
            &ApiError::condition_failed(Some(item.clone())),
            400,
            concat!(
                r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","#,
                r#""Item":{"a":{"N":"1"}},"message":"The conditional request failed"}"#
            ),
        );
        let failed = CancellationReason {
            code: Some("ConditionalCheckFailed"),
            message: Some("The conditional request failed".into()),
            item: Some(item),
        };
        check(
            &ApiError::transaction_cancelled(vec![CancellationReason::default(), failed]),
            400,
            concat!(
                r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","#,
                r#""CancellationReasons":[{"Code":"None"},{"Code":"ConditionalCheckFailed","Item":{"a":{"N":"1"}},"#,
                r#""Message":"The conditional request failed"}],"#,
                r#""Message":"Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed]"}"#
            ),
        );
        check(
            &ApiError::new(ErrorCode::InternalServerError, "x"),
            500,
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"x"}"#,
        );
    }
}
