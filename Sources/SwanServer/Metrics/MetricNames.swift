extension PrometheusMetrics.Description {
    /// Seconds from a millisecond to a minute.
    private static let seconds: [Double] = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 1,
        1.5, 2.5, 5, 10, 30, 60,
    ]
    /// Ratios around 1.
    private static let ratios: [Double] = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1, 1.1, 1.5, 2, 4, 8]

    private static func counter(_ help: String) -> Self { Self(kind: .counter, help: help) }
    private static func gauge(_ help: String) -> Self { Self(kind: .gauge, help: help) }
    private static func timer(_ help: String) -> Self {
        Self(kind: .histogram, help: help, buckets: seconds)
    }

    /// The metrics of the server by their names; docs/serving.md lists them.
    static let ofServer: [String: Self] = [
        "swan_build_info": gauge("1; the label is the version of the program."),
        "swan_ready": gauge("1 if the server takes sessions, otherwise 0."),
        "swan_sessions": gauge("Sessions that are open."),
        "swan_device_ready": gauge("1 if a device works, 0 if it has failed."),
        "swan_device_sessions": gauge("Sessions that are open on a device."),
        "swan_sessions_started_total": counter("Sessions that were started."),
        "swan_sessions_ended_total": counter("Sessions that ended, by result."),
        "swan_sessions_refused_total": counter("Sessions that were refused, by reason."),
        "swan_frames_total": counter("Frames that came in and went out, by direction and result."),
        "swan_frames_dropped_total": counter("Frames that were dropped, by reason."),
        "swan_e2e_latency_seconds": timer(
            "From a frame's arrival until its restyled frame is ready."
        ),
        "swan_stage_duration_seconds": timer("Time of a chunk in a stage."),
        "swan_queue_depth": gauge("Frames that wait in a queue."),
        "swan_chunks_total": counter("Chunks that were restyled."),
        "swan_deadline_missed_total": counter("Chunks that were ready after their deadline."),
        "swan_underruns_total": counter("Times that a viewer had no frame to show."),
        "swan_prompt_to_effect_seconds": timer(
            "From a change until the first chunk that it shaped."
        ),
        "swan_time_to_first_chunk_seconds": timer("From the first frame until the first chunk."),
        "swan_chunk_interval_seconds": timer("Between two chunks of a session."),
        "swan_real_time_factor": Self(
            kind: .histogram,
            help: "A chunk's playing time over the time since the previous one; 1 in real time.",
            buckets: ratios
        ),
        "swan_jobs": gauge("Jobs, by status."),
        "swan_http_requests_total": counter("Requests, by method, route and status."),
        "swan_http_request_duration_seconds": timer("Time until a response began, by route."),
        "process_resident_memory_bytes": gauge("Memory of the process."),
        "process_open_fds": gauge("Open file descriptors of the process."),
        "process_threads": gauge("Threads of the process."),
    ]
}
