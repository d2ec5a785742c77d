//! What every SQLite file of Daybook needs: the embedded log's and the tables'.

pub mod wal;
