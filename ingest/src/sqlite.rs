//! What every SQLite file of Daybook needs: the embedded log's and the tables'.

pub mod opened_files;
pub mod wal;
pub mod wal_end;
