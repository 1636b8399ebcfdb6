import SwanMedia
import SwanPipelines

extension StreamCommand {
    /// The work that inputs and output ask for.
    enum Work {
        case one(FileStreamRequest)
        case several(FileStreamRequest, [BatchPlan.Job])

        /// The request of each output.
        var requests: [FileStreamRequest] {
            switch self {
            case .one(let request): [request]
            case .several(let request, let jobs): jobs.map { $0.request(like: request) }
            }
        }

        /// The files that are read and written.
        var files: JobFiles {
            var files = JobFiles()
            for each in requests.map(\.files) {
                files.inputs += each.inputs
                files.outputs += each.outputs
                files.models = each.models
            }
            return files
        }
    }
}
