import CMalloc

/// Settings of the C library's allocator.
package enum Allocator {
    /// Keeps many threads that allocate and free large pages from holding what was freed in as many
    /// arenas; to be called before the first of them starts. See mallopt(3).
    package static func boundFreedMemory() {
        mallopt(M_ARENA_MAX, 2)
        mallopt(M_MMAP_THRESHOLD, 4 << 20)
        mallopt(M_TRIM_THRESHOLD, 8 << 20)
    }

    /// Gives back to the system what was freed, also between what is in use. The allocator itself gives
    /// back only what lies at an arena's end; after work that took much for a while that is next to
    /// nothing. Takes milliseconds.
    package static func giveBackFreed() { malloc_trim(0) }
}
