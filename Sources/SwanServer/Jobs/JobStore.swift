import Foundation
import GRDB
import SwanSystem

/// The folder of a server's jobs: a database, uploads and finished videos.
///
/// Only one process has a folder at a time. Whatever is in it and belongs to no job is removed when it is opened.
final class JobStore: Sendable {
    /// What a client can download of a job.
    enum Variant: String, CaseIterable {
        case video, thumbnail, spritesheet

        var fileExtension: String { self == .video ? "mp4" : "jpg" }
        var contentType: String { self == .video ? "video/mp4" : "image/jpeg" }
    }

    /// The folder.
    let folder: String
    /// Where uploads are stored until they belong to a job.
    var uploads: String { folder + "/uploads" }
    private var inputs: String { folder + "/inputs" }
    private var videos: String { folder + "/videos" }
    private let database: DatabaseQueue
    /// Its lock is held while it is open.
    private let lock: Int32

    /// Opens a folder, and creates it if necessary.
    ///
    /// - Throws: `exists` if another process has it, `cannotWrite` if it cannot be used.
    init(_ path: String) throws {
        // Messages about files with absolute names can be told from others.
        folder = URL(fileURLWithPath: path).path
        do {
            for name in ["", "/uploads", "/inputs", "/videos"] {
                try FileManager.default.createDirectory(
                    atPath: folder + name,
                    withIntermediateDirectories: true,
                    attributes: [.posixPermissions: 0o700]
                )
            }
        } catch {
            throw SwanError(.cannotWrite, "\(folder): cannot be created: \(Self.reason(error))")
        }
        lock = open(folder + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0 else {
            throw SwanError(
                .cannotWrite,
                "\(folder): cannot be written: \(SwanError.reason(errno))"
            )
        }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            close(lock)
            throw SwanError(
                .exists,
                "\(folder): another 'swan serve' keeps its jobs here; choose a folder with --jobs"
            )
        }
        do {
            try Self.makePrivate(folder + "/jobs.sqlite")
            database = try Self.database(at: folder + "/jobs.sqlite")
        } catch {
            close(lock)
            throw SwanError(
                .cannotWrite,
                "\(folder)/jobs.sqlite: cannot be opened: \(error); remove it to start without jobs"
            )
        }
    }

    deinit {
        // First the database, which the next owner of the folder opens.
        do {
            try database.close()
        } catch {
            // What is left of it ends with the process; the next owner waits for that.
        }
        close(lock)
    }

    private static func reason(_ error: any Error) -> String {
        let underlying = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError
        return underlying.map { SwanError.reason(Int32($0.code)) } ?? error.localizedDescription
    }

    /// Lets only the user read the database, which has prompts, and its companions. SQLite gives new
    /// ones the permissions of the database.
    private static func makePrivate(_ path: String) throws {
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw SwanError(.cannotWrite, SwanError.reason(errno)) }
        defer { close(file) }
        for name in [path, path + "-wal", path + "-shm"] where access(name, F_OK) == 0 {
            guard chmod(name, 0o600) == 0 else {
                throw SwanError(.cannotWrite, SwanError.reason(errno))
            }
        }
    }

    private static func database(at path: String) throws -> DatabaseQueue {
        var configuration = Configuration()
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { database in
            // A job that a client was told about survives a power failure.
            try database.execute(sql: "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
        }
        let database = try DatabaseQueue(path: path, configuration: configuration)
        var migrator = DatabaseMigrator()
        migrator.registerMigration("jobs") { database in
            try database.create(table: "job") { table in
                table.autoIncrementedPrimaryKey("number")
                table.column("id", .text).notNull().unique()
                table.column("status", .text).notNull()
                table.column("request", .text).notNull()
                table.column("createdAt", .integer).notNull()
                table.column("completedAt", .integer)
                table.column("expiresAt", .integer)
                table.column("failure", .text)
                table.column("remixedFrom", .text)
                table.column("idempotencyKey", .text).unique()
                table.column("requestDigest", .text).notNull()
                table.column("attempts", .integer).notNull()
                table.column("size", .text)
                table.column("frames", .integer)
                table.column("frameRate", .double)
            }
        }
        migrator.registerMigration("issues") { database in
            try database.alter(table: "job") { $0.add(column: "issues", .text) }
        }
        try migrator.migrate(database)
        return database
    }

    // MARK: - Jobs

    /// All jobs, the oldest first.
    func jobs() throws -> [VideoJob] {
        do {
            return try database.read { try VideoJob.order(Column("number")).fetchAll($0) }
        } catch {
            throw SwanError(
                .invalidFile,
                "\(folder)/jobs.sqlite: cannot be read: \(error); remove it to start without its jobs",
                cause: error
            )
        }
    }

    /// Stores a new job, which gets its number.
    func insert(_ job: inout VideoJob) throws {
        job = try database.write { [job] database in
            var job = job
            try job.insert(database)
            return job
        }
    }

    func update(_ job: VideoJob) throws {
        try database.write { try job.update($0) }
    }

    func delete(_ job: VideoJob) throws {
        _ = try database.write { try job.delete($0) }
        removeFiles(of: job)
    }

    // MARK: - Files

    /// Where a finished video or a picture of it is.
    func path(_ job: VideoJob, _ variant: Variant) -> String {
        let kind = variant == .video ? "" : "-\(variant.rawValue)"
        return "\(videos)/\(job.id)\(kind).\(variant.fileExtension)"
    }

    /// Where an uploaded file of a job is.
    func input(_ id: String, _ index: Int) -> String { "\(inputs)/\(id)-\(index)" }

    /// Gives another job the same uploaded files.
    func linkInputs(of job: VideoJob, to id: String) throws {
        for index in job.request.roles.indices {
            guard link(input(job.id, index), input(id, index)) == 0 else {
                throw SwanError(
                    .io,
                    "\(folder): a file cannot be linked: \(SwanError.reason(errno))"
                )
            }
        }
    }

    func removeInputs(of id: String, count: Int) {
        for index in 0..<count { unlink(input(id, index)) }
    }

    private func removeFiles(of job: VideoJob) {
        removeInputs(of: job.id, count: job.request.roles.count)
        for variant in Variant.allCases { unlink(path(job, variant)) }
    }

    /// Removes files that belong to none of the jobs: those of uploads and videos that were cut short.
    func removeStrayFiles(keeping jobs: [VideoJob]) {
        var known: Set<String> = []
        for job in jobs {
            for index in job.request.roles.indices { known.insert(input(job.id, index)) }
            guard job.status == .completed else { continue }
            for variant in Variant.allCases { known.insert(path(job, variant)) }
        }
        for folder in [uploads, inputs, videos] {
            for name in Folder.names(in: folder) where !known.contains("\(folder)/\(name)") {
                unlink("\(folder)/\(name)")
            }
        }
    }
}
