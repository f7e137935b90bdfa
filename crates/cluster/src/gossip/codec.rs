//! The wire form of foca's headers and members. Every read is checked against the bytes that are left, every
//! write against the space that is left.
//!
//! ```text
//! identity  8 node | 8 incarnation | 1 n | n address, UTF-8
//! member    identity | 2 SWIM incarnation | 1 state: 1 alive, 2 suspect, 3 down
//! header    identity of sender | 2 its SWIM incarnation | identity of receiver | 1 kind | (1 probe number (identity)?)?
//! ```

use super::identity::GossipIdentity;
use crate::NodeId;
use crate::limits::MAX_ADDRESS_BYTES;
use bytes::{Buf, BufMut};
use foca::{Codec, Header, Member, Message, State};

/// What is wrong with a header or member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("cut short")]
    Short,
    #[error("does not fit")]
    Full,
    #[error("impossible {0}")]
    Value(&'static str),
}

pub(super) struct IdentityCodec;

impl Codec<GossipIdentity> for IdentityCodec {
    type Error = CodecError;

    fn encode_header(
        &mut self,
        header: &Header<GossipIdentity>,
        mut buf: impl BufMut,
    ) -> Result<(), CodecError> {
        let (kind, probe, about) = parts(&header.message);
        let size = identity_size(&header.src)
            + identity_size(&header.dst)
            + 3
            + usize::from(probe.is_some())
            + about.map_or(0, identity_size);
        if buf.remaining_mut() < size {
            return Err(CodecError::Full);
        }
        put_identity(&header.src, &mut buf)?;
        buf.put_u16(header.src_incarnation);
        put_identity(&header.dst, &mut buf)?;
        buf.put_u8(kind);
        if let Some(probe) = probe {
            buf.put_u8(probe);
        }
        about.map_or(Ok(()), |identity| put_identity(identity, &mut buf))
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<GossipIdentity>, CodecError> {
        let src = get_identity(&mut buf)?;
        let src_incarnation = buf.try_get_u16().map_err(|_| CodecError::Short)?;
        let dst = get_identity(&mut buf)?;
        let kind = buf.try_get_u8().map_err(|_| CodecError::Short)?;
        let mut probe = || buf.try_get_u8().map_err(|_| CodecError::Short);
        let message = match kind {
            1 => Message::Ping(probe()?),
            2 => Message::Ack(probe()?),
            3 => {
                let probe_number = probe()?;
                Message::PingReq { probe_number, target: get_identity(&mut buf)? }
            }
            4 => {
                let probe_number = probe()?;
                Message::IndirectPing { probe_number, origin: get_identity(&mut buf)? }
            }
            5 => {
                let probe_number = probe()?;
                Message::IndirectAck { probe_number, target: get_identity(&mut buf)? }
            }
            6 => {
                let probe_number = probe()?;
                Message::ForwardedAck { probe_number, origin: get_identity(&mut buf)? }
            }
            7 => Message::Announce,
            8 => Message::Feed,
            9 => Message::Gossip,
            10 => Message::Broadcast,
            11 => Message::TurnUndead,
            _ => return Err(CodecError::Value("message kind")),
        };
        Ok(Header { src, src_incarnation, dst, message })
    }

    fn encode_member(
        &mut self,
        member: &Member<GossipIdentity>,
        mut buf: impl BufMut,
    ) -> Result<(), CodecError> {
        if buf.remaining_mut() < identity_size(member.id()) + 3 {
            return Err(CodecError::Full);
        }
        put_identity(member.id(), &mut buf)?;
        buf.put_u16(member.incarnation());
        buf.put_u8(match member.state() {
            State::Alive => 1,
            State::Suspect => 2,
            State::Down => 3,
        });
        Ok(())
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<GossipIdentity>, CodecError> {
        let id = get_identity(&mut buf)?;
        let incarnation = buf.try_get_u16().map_err(|_| CodecError::Short)?;
        let state = match buf.try_get_u8().map_err(|_| CodecError::Short)? {
            1 => State::Alive,
            2 => State::Suspect,
            3 => State::Down,
            _ => return Err(CodecError::Value("member state")),
        };
        Ok(Member::new(id, incarnation, state))
    }
}

fn parts(message: &Message<GossipIdentity>) -> (u8, Option<u8>, Option<&GossipIdentity>) {
    match message {
        Message::Ping(probe) => (1, Some(*probe), None),
        Message::Ack(probe) => (2, Some(*probe), None),
        Message::PingReq { target, probe_number } => (3, Some(*probe_number), Some(target)),
        Message::IndirectPing { origin, probe_number } => (4, Some(*probe_number), Some(origin)),
        Message::IndirectAck { target, probe_number } => (5, Some(*probe_number), Some(target)),
        Message::ForwardedAck { origin, probe_number } => (6, Some(*probe_number), Some(origin)),
        Message::Announce => (7, None, None),
        Message::Feed => (8, None, None),
        Message::Gossip => (9, None, None),
        Message::Broadcast => (10, None, None),
        Message::TurnUndead => (11, None, None),
    }
}

fn identity_size(identity: &GossipIdentity) -> usize {
    17 + identity.addr.len()
}

/// The caller has checked that it fits.
fn put_identity(identity: &GossipIdentity, buf: &mut impl BufMut) -> Result<(), CodecError> {
    let length = u8::try_from(identity.addr.len()).map_err(|_| CodecError::Value("address"))?;
    buf.put_u64(identity.node.0);
    buf.put_u64(identity.incarnation);
    buf.put_u8(length);
    buf.put_slice(identity.addr.as_bytes());
    Ok(())
}

fn get_identity(buf: &mut impl Buf) -> Result<GossipIdentity, CodecError> {
    let node = buf.try_get_u64().map_err(|_| CodecError::Short)?;
    let incarnation = buf.try_get_u64().map_err(|_| CodecError::Short)?;
    let length = usize::from(buf.try_get_u8().map_err(|_| CodecError::Short)?);
    if node == 0 || length == 0 || length > MAX_ADDRESS_BYTES {
        return Err(CodecError::Value("identity"));
    }
    let mut addr = vec![0; length];
    buf.try_copy_to_slice(&mut addr).map_err(|_| CodecError::Short)?;
    let addr = String::from_utf8(addr).map_err(|_| CodecError::Value("address"))?;
    Ok(GossipIdentity { node: NodeId(node), incarnation, addr })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identity() -> impl Strategy<Value = GossipIdentity> {
        (1u64.., any::<u64>(), "[a-z0-9.:é]{1,60}").prop_map(|(node, incarnation, addr)| GossipIdentity {
            node: NodeId(node),
            incarnation,
            addr,
        })
    }

    fn message() -> impl Strategy<Value = Message<GossipIdentity>> {
        (0u8..11, any::<u8>(), identity()).prop_map(|(kind, probe_number, id)| match kind {
            0 => Message::Ping(probe_number),
            1 => Message::Ack(probe_number),
            2 => Message::PingReq { target: id, probe_number },
            3 => Message::IndirectPing { origin: id, probe_number },
            4 => Message::IndirectAck { target: id, probe_number },
            5 => Message::ForwardedAck { origin: id, probe_number },
            6 => Message::Announce,
            7 => Message::Feed,
            8 => Message::Gossip,
            9 => Message::Broadcast,
            _ => Message::TurnUndead,
        })
    }

    proptest! {
        #[test]
        fn headers_round_trip_and_no_prefix_is_one(
            src in identity(), dst in identity(), message in message(), src_incarnation: u16, room in 0usize..300,
        ) {
            let header = Header { src, src_incarnation, dst, message };
            let mut bytes = Vec::new();
            IdentityCodec.encode_header(&header, &mut bytes).unwrap();
            prop_assert_eq!(IdentityCodec.decode_header(&bytes[..]).unwrap(), header.clone());
            for end in 0..bytes.len() {
                prop_assert!(IdentityCodec.decode_header(&bytes[..end]).is_err());
            }
            let mut tight = Vec::new();
            let fits = IdentityCodec.encode_header(&header, (&mut tight).limit(room)).is_ok();
            prop_assert_eq!(fits, room >= bytes.len());
            prop_assert!(fits || tight.is_empty(), "left half a header behind");
        }

        #[test]
        fn members_round_trip(id in identity(), incarnation: u16, state in 0u8..3) {
            let state = [State::Alive, State::Suspect, State::Down][usize::from(state)];
            let member = Member::new(id, incarnation, state);
            let mut bytes = Vec::new();
            IdentityCodec.encode_member(&member, &mut bytes).unwrap();
            let mut rest = &bytes[..];
            prop_assert_eq!(IdentityCodec.decode_member(&mut rest).unwrap(), member);
            prop_assert!(rest.is_empty());
        }
    }
}
