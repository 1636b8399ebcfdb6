/// What the jobs of a server may use.
package struct JobLimits: Sendable {
    /// The maximum number of jobs that wait or run.
    package var queued = 16
    /// The maximum number of requests for jobs whose bodies are arriving.
    package var arriving = 128
    /// What such requests may have stored together: files, in bytes.
    package var arrivingFileBytes = 8 << 30
    /// What such requests may have stored together: JSON, which is in memory, in bytes.
    package var arrivingJSONBytes = 512 << 20
    /// The time that a finished job and its files are kept.
    package var lifetime: Duration = .seconds(24 * 3_600)
    /// The time between searches for expired jobs.
    package var cleaningInterval: Duration = .seconds(5)
    /// The time that a stopping server waits for the running job.
    package var closeTimeout: Duration = .seconds(4)
    /// The maximum size of an upload, in bytes.
    package var uploadBytes = 512 << 20
    /// The maximum size of a body in JSON, whose files are in Base64, in bytes.
    package var jsonBytes = 32 << 20
    /// The maximum length of a video in seconds.
    package var seconds = 600.0
    /// The maximum size of a request to remix a video, in bytes.
    package var remixBytes = 128 << 10
    /// What decoding an upload may cost.
    package var decoding = DecodeLimits()

    /// Creates the default limits.
    package init() {}
}
