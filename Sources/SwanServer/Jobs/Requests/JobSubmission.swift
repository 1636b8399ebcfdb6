import Crypto
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import SwanHTTP

/// A request for a job as it arrived: its fields, and its files on disk.
struct JobSubmission: Sendable {
    let fields: Data
    var files: [(role: JobRequest.Role, file: UploadedFile)] = []
    /// Counts what the submission stores, as long as there is one.
    private let arrival: ArrivingBodies.Body

    /// Reads the body of a request.
    ///
    /// - Parameter folder: Where files are stored until they belong to a job.
    init(
        _ request: Request,
        _ limits: JobLimits,
        arriving: ArrivingBodies,
        folder: String
    ) async throws {
        let type = request.headers[.contentType] ?? ""
        let isForm = MultipartForm.isForm(type)
        let arrival = try arriving.begin(isForm ? .disk : .memory)
        self.arrival = arrival
        let body = RequestBody(
            asyncSequence: request.body.map { buffer in
                try arrival.add(buffer.readableBytes)
                return buffer
            }
        )
        if isForm {
            var form = MultipartLimits()
            form.fileBytes = limits.uploadBytes
            form.parts = 64
            form.largeFields["input_reference[image_url]"] = limits.jsonBytes
            let parts = try await MultipartForm(
                body,
                contentType: type,
                limits: form,
                folder: folder,
                files: Set(JobRequest.Role.allCases.map(\.rawValue))
            )
            fields = try FormFields.json(parts.fields)
            files = parts.files.compactMap { name, file in
                JobRequest.Role(rawValue: name).map { ($0, file) }
            }
        } else if type.lowercased().hasPrefix("application/json") {
            let json = try await body.collected(upTo: limits.jsonBytes)
            fields = Data(json.readableBytesView)
        } else {
            throw APIError.contentType("application/json or multipart/form-data")
        }
        for reference in try JobFields(json: fields).references {
            let file = try UploadedFile(in: folder)
            try await file.append(Array(reference.bytes))
            files.append((reference.role, file))
        }
        try requireSingleFiles()
    }

    /// What tells this submission from others, in hexadecimal.
    var digest: String {
        var sum = SHA256()
        // The files of JSON are part of its fields.
        sum.update(data: fields)
        for (role, file) in files {
            sum.update(data: Data("\(role.rawValue)=\(file.checksum);".utf8))
        }
        return sum.finalize().map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private func requireSingleFiles() throws(APIError) {
        for role in JobRequest.Role.allCases where role != .reference {
            guard files.count(where: { $0.role == role }) < 2 else {
                throw .invalid(role.rawValue, "is given twice")
            }
        }
    }
}

extension RequestBody {
    /// The whole body, if it is not larger than a limit of its own.
    func collected(upTo limit: Int) async throws -> ByteBuffer {
        do {
            return try await collect(upTo: limit)
        } catch is NIOTooManyBytesError {
            throw APIError.bodyTooLarge(limit: limit)
        }
    }
}
