import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import SwanStore
import SwanSystem

/// Downloads one file: goes on from what has arrived before, and checks what it gets.
struct FileDownload {
    let file: WantedFile
    /// The folder for what has arrived of files that are not complete.
    let partsFolder: String
    /// The path of the complete file.
    let target: String
    let connections: HubConnections
    let meter: PullMeter
    let report: @Sendable (PullEvent) -> Void

    private var environment: HubEnvironment { connections.environment }

    /// Downloads the file. What has arrived stays if this throws, unless it is wrong.
    func run() async throws -> UnfinishedPull.File {
        let name = ContentHash.ofText(file.path + "\n" + file.identity).prefix(32)
        let part = try PartFile(partsFolder + "/" + name + ".part")
        var isContinued = part.count > 0
        while true {
            var sum = try begin(part)
            try await fill(part, &sum)
            if sum.matches(file.checksum) {
                try StoreFolder.make(Folder.path(of: target))
                try part.move(to: target)
                meter.finishFile()
                return .init(
                    path: file.path,
                    identity: file.identity,
                    bytes: sum.count,
                    sha256: sum.digest
                )
            }
            meter.add(-part.count, isNew: false)
            // What an earlier attempt left may be damaged: then the whole file is right.
            guard isContinued else {
                part.remove()
                throw mismatch(sum)
            }
            isContinued = false
            report(.note("\(file.path): what had arrived of it is damaged; downloading it anew"))
            try part.empty()
        }
    }

    /// Checks what is there, and computes its checksum.
    private func begin(_ part: PartFile) throws -> ContentHash {
        if !canContinue || part.count > file.bytes ?? .max { try part.empty() }
        var sum = newSum
        try part.hash(into: &sum)
        meter.add(part.count, isNew: false)
        return sum
    }

    /// Whether it would be noticed if what had arrived belonged to another version of the file.
    private var canContinue: Bool { file.checksum != nil || file.validator != nil }

    private var newSum: ContentHash {
        guard case .gitBlob = file.checksum else { return ContentHash() }
        return ContentHash(blobSize: file.bytes)
    }

    private func mismatch(_ sum: ContentHash) -> SwanError {
        let found = if case .gitBlob = file.checksum { sum.blobDigest ?? "" } else { sum.digest }
        return SwanError(
            .invalidData,
            "\(file.path): the \(file.checksum?.kind ?? "checksum") of what arrived is \(found), but "
                + "should be \(file.checksum?.text ?? ""); it was removed. A proxy may have changed "
                + "it; try again"
        )
    }

    /// Downloads what is missing, as often as it takes.
    private func fill(_ part: PartFile, _ sum: inout ContentHash) async throws {
        var retries = Retries(
            environment.timing,
            report,
            advice: "; the same command goes on from what has arrived"
        )
        while part.count != file.bytes {
            let before = part.count
            do {
                try await fetch(part, &sum)
                return
            } catch {
                if part.count > before { retries.succeed() }
                let failure = HubFailure.describing(error, at: file.url)
                guard let failure = failure as? HubFailure else { throw failure }
                try await retries.wait(after: failure)
            }
        }
    }

    /// Makes one request for what is missing, and appends what arrives.
    private func fetch(_ part: PartFile, _ sum: inout ContentHash) async throws {
        if part.count > 0, !canContinue { try restart(part, &sum) }
        var headers: [(String, String)] = []
        if part.count > 0 {
            headers.append(("Range", "bytes=\(part.count)-"))
            if file.checksum == nil, let validator = file.validator {
                headers.append(("If-Range", validator))
            }
        }
        let reply = try await connections.get(file.url, headers: headers)
        if reply.status == 416, part.count > 0 {
            try restart(part, &sum)
            throw HubFailure(message: "\(file.path): the server has less of it than had arrived")
        }
        try answer.requireSuccess(reply)
        try check(reply)
        switch (reply.status, ContentRange(reply.header("Content-Range"))) {
        case (206, let range?) where range.start == part.count && isWhole(range.total): break
        case (206, _):
            try restart(part, &sum)
            throw HubFailure(message: "\(file.path): the server sent another part of it than asked")
        default: if part.count > 0 { try restart(part, &sum) }
        }
        for try await buffer in reply.body {
            try Task.checkCancellation()
            guard part.count + buffer.readableBytes <= file.bytes ?? .max else {
                try restart(part, &sum)
                throw SwanError(
                    .invalidData,
                    "\(file.path): is longer than the \(file.bytes ?? 0) bytes it should have"
                )
            }
            try buffer.withUnsafeReadableBytes { bytes throws(SwanError) in
                try part.append(bytes)
                sum.add(bytes)
            }
            meter.add(buffer.readableBytes, isNew: true)
        }
        if let bytes = file.bytes, part.count < bytes {
            throw HubFailure(message: "\(file.path): the connection ended before all of it arrived")
        }
    }

    private func isWhole(_ total: Int?) -> Bool {
        guard let total, let bytes = file.bytes else { return true }
        return total == bytes
    }

    private func restart(_ part: PartFile, _ sum: inout ContentHash) throws(SwanError) {
        meter.add(-part.count, isNew: false)
        try part.empty()
        sum = newSum
    }

    /// Throws if the headers show that this is another file than the one planned.
    private func check(_ reply: HubReply) throws {
        if let coding = reply.header("Content-Encoding"), coding.lowercased() != "identity" {
            throw SwanError(
                .invalidData,
                "\(file.path): was sent compressed (\(coding.printable())), though this was not "
                    + "asked for; a proxy may do that"
            )
        }
        guard case .sha256(let wanted) = file.checksum,
            let linked = reply.firstHeaders.first(name: "X-Linked-Etag"),
            case .sha256(let found) = Checksum.sha256(hex: linked.filter { $0.isHexDigit })
        else { return }
        guard wanted == found else {
            throw SwanError(
                .invalidData,
                "\(file.path): the hub has other content (SHA-256 \(found)) than it lists (\(wanted))"
            )
        }
    }

    private var answer: HubAnswer {
        HubAnswer(
            repository: file.origin?.repository,
            revision: nil,
            path: file.origin?.path,
            hasToken: environment.token != nil,
            endpoint: environment.endpoint
        )
    }
}

/// The header that says which bytes of a file an answer has.
struct ContentRange: Equatable {
    let start: Int
    /// The size of the whole file, if the server knows it.
    let total: Int?

    init?(_ header: String?) {
        guard let match = header?.wholeMatch(of: /\s*bytes\s+(\d+)-\d+\/(\d+|\*)\s*/),
            let start = Int(match.1)
        else { return nil }
        self.start = start
        total = Int(match.2)
    }
}
