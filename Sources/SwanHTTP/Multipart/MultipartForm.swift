import HTTPTypes
package import NIOCore
import SwanSystem

/// A form: its fields in memory, its files on disk.
package struct MultipartForm: Sendable {
    /// The fields that are not files, in order.
    package private(set) var fields: [(name: String, value: String)] = []
    /// The files, in order.
    package private(set) var files: [(name: String, file: UploadedFile)] = []

    private let limits: MultipartLimits
    private let folder: String
    private var parser: MultipartParser
    private var part: MultipartPart?
    private var field: [UInt8] = []
    private var fieldBytes = 0

    /// Whether a content type is that of a form.
    package static func isForm(_ contentType: String) -> Bool {
        contentType.lowercased().hasPrefix("multipart/")
    }

    /// Reads a form while it arrives.
    ///
    /// - Parameters:
    ///   - folder: Where files are stored.
    ///   - files: The names of the parts that may be files.
    package init<Body: AsyncSequence>(
        _ body: Body,
        contentType: String,
        limits: MultipartLimits,
        folder: String,
        files allowed: Set<String>
    ) async throws where Body.Element == ByteBuffer {
        guard let boundary = MultipartParser.boundary(of: contentType) else {
            throw APIError.malformedForm(
                "Send the form as multipart/form-data with a boundary of 1 to 70 characters."
            )
        }
        self.limits = limits
        self.folder = folder
        parser = MultipartParser(boundary: boundary, limits: limits)
        for try await buffer in body {
            for event in try parser.feed(buffer.readableBytesView) {
                try await take(event, allowed)
            }
        }
        try parser.finish()
    }

    private mutating func take(_ event: MultipartParser.Event, _ allowed: Set<String>) async throws
    {
        switch event {
        case .part(let part):
            self.part = part
            field = []
            guard part.isFile else { return }
            guard allowed.contains(part.name) else {
                throw APIError(
                    .badRequest,
                    "unknown_file",
                    "There is no file with this name; known names: \(allowed.sorted().joined(separator: ", ")).",
                    parameter: part.name.printable(limit: 80)
                )
            }
            files.append((part.name, try UploadedFile(in: folder)))
        case .data(let bytes):
            try await add(bytes)
        case .endOfPart:
            guard let part, !part.isFile else { return }
            guard let value = String(validating: field, as: UTF8.self) else {
                throw APIError.malformedForm("A field is not UTF-8 text.")
            }
            fields.append((part.name, value))
        }
    }

    private mutating func add(_ bytes: [UInt8]) async throws {
        guard let part else { return }
        if part.isFile, let file = files.last?.file {
            guard file.count + bytes.count <= limits.fileBytes else {
                throw APIError.formTooLarge(
                    "A file has at most \(limits.fileBytes) bytes.",
                    parameter: part.name
                )
            }
            return try await file.append(bytes)
        }
        let large = limits.largeFields[part.name]
        if large == nil { fieldBytes += bytes.count }
        let limit = large ?? limits.fieldBytes
        guard field.count + bytes.count <= limit, fieldBytes <= limits.allFieldBytes else {
            throw APIError.formTooLarge(
                "This field has at most \(limit) bytes.",
                parameter: part.name.printable(limit: 80)
            )
        }
        field += bytes
    }
}
