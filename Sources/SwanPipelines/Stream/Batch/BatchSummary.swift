package import Foundation
package import SwanSystem

/// The summary of several jobs, as written by `--json`.
package struct BatchSummary: Sendable, Codable {
    /// How a job ended.
    package enum Status: String, Sendable, Codable {
        /// The output is complete.
        case done
        /// The output has the frames that were finished when the batch was stopped.
        case interrupted
        /// There is no output.
        case failed
        /// The batch was stopped before the job began.
        case skipped
    }

    /// A job of the batch.
    package struct File: Sendable, Codable {
        /// The paths as given.
        package let input, output: String
        /// How it ended.
        package var status: Status
        /// Why it failed.
        package var error: String?
        /// The job's own summary; `nil` if it failed.
        package var summary: StreamSummary?
        /// The kind of failure.
        package var code: SwanError.Code?

        private enum CodingKeys: String, CodingKey {
            case input, output, status, error, summary
        }

        init(_ job: BatchPlan.Job, _ status: Status) {
            (input, output, self.status) = (job.input, job.output, status)
        }
    }

    /// The schema version, incremented when a key is removed or changes its meaning.
    package var schemaVersion = 1
    /// The jobs, in order.
    package var files: [File] = []

    private enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version", files
    }

    /// How many jobs ended in a way.
    package func count(_ status: Status) -> Int { files.count { $0.status == status } }

    /// Encodes the summary as JSON with sorted keys and a trailing newline.
    package func json() throws -> Data { try JSONText.data(self) }
}
