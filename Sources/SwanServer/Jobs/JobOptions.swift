/// Where a server keeps its jobs, and what they may use.
package struct JobOptions: Sendable {
    /// The folder of the jobs.
    package var folder: String
    /// Whether the server starts without jobs if the folder cannot be used.
    package var isOptional = false
    /// The checkpoint that makes videos from text and pictures, besides the streaming model.
    package var generator: VideoModel?
    /// What the jobs may use.
    package var limits = JobLimits()

    /// The paths whose requests may be larger than others: several files, and what is between them.
    package var uploads: [String: Int] { ["/v1/videos": 2 * limits.uploadBytes] }

    /// Creates options for a folder.
    package init(folder: String) { self.folder = folder }
}
