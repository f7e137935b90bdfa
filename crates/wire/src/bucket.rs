//! Messages between bucket replicas.

macro_rules! placeholder {
    ($($t:ident)*) => {$(
        /// Filled in by the buckets work.
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct $t {}
    )*};
}
placeholder!(BucketCoordinate BucketMerge BucketRead BucketList BucketResult BucketMerged BucketState BucketKeys);
