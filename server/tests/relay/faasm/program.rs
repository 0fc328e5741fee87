//! The program: its settings for a cluster, and the doctor.
