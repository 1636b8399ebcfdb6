import Foundation
package import SwanStore
import SwanSystem

/// Pulls a model into the store: complete, checked, and under its name only then.
package struct ModelPull: Sendable {
    /// What to pull, and how.
    package struct Options: Sendable {
        package var source: PullSource
        /// Which files to take.
        package var patterns = FilePatterns()
        /// A name other than the source's.
        package var name: String?
        /// A folder to put the files into, rather than the store.
        package var folder: String?
        /// Whether to check each file that is there, although the model is complete.
        package var checksFiles = false

        package init(_ source: PullSource) { self.source = source }
    }

    /// The number of files that are downloaded at a time.
    private static let sideBySide = 3

    private let options: Options
    private let environment: HubEnvironment
    private let store: ModelStore
    private let userAgent: String
    private let report: @Sendable (PullEvent) -> Void

    package init(
        _ options: Options,
        environment: HubEnvironment,
        store: ModelStore,
        userAgent: String,
        report: @escaping @Sendable (PullEvent) -> Void
    ) {
        (self.options, self.environment, self.store) = (options, environment, store)
        (self.userAgent, self.report) = (userAgent, report)
    }

    /// Finds out what would be pulled.
    package func plan() async throws -> PullPlan {
        try await connected { try await plan($0) }
    }

    /// Pulls the model, and returns it. When it is there already and up to date, nothing is done.
    ///
    /// Cancelling the task keeps what has arrived, for the next pull.
    package func run() async throws -> StoredModel {
        if environment.isOffline { return try unchecked() }
        return try await connected { connections in
            let plan = try await plan(connections)
            let place = try PullPlace(plan, options, store)
            let lock = try await place.lock(report)
            defer { lock.end() }
            return try await pull(plan, to: place, connections)
        }
    }

    private func plan(_ connections: HubConnections) async throws -> PullPlan {
        guard !environment.isOffline else {
            throw SwanError(.noSuchModel, "HF_HUB_OFFLINE is set, so nothing is fetched")
        }
        let planner = PullPlanner(
            connections: connections,
            patterns: options.patterns,
            report: report
        )
        let plan = try await planner.plan(options.source, name: options.name)
        guard plan.name.utf8.count <= StoreName.longest else {
            throw SwanError(.invalidRequest, "the model's name is too long; choose one with --name")
        }
        return plan
    }

    private func connected<Value: Sendable>(
        _ body: (HubConnections) async throws -> Value
    ) async throws -> Value {
        let connections = HubConnections(environment, userAgent: userAgent)
        let result: Result<Value, any Error>
        do {
            result = .success(try await body(connections))
        } catch {
            result = .failure(error)
        }
        await connections.close()
        return try result.get()
    }

    /// The model as it is, without asking anyone.
    private func unchecked() throws -> StoredModel {
        var fileName: String?
        if case .file(let url, _) = options.source { fileName = url.lastPathComponent }
        let name = options.name ?? options.source.name(fileName: fileName)
        guard let model = try store.model(named: name), options.folder == nil else {
            throw SwanError(
                .noSuchModel,
                "\(name): is not in \(store.root), and HF_HUB_OFFLINE is set, so nothing is fetched"
            )
        }
        report(.note("HF_HUB_OFFLINE is set: \(name) is taken as it is"))
        return model
    }

    private func pull(
        _ plan: PullPlan,
        to place: PullPlace,
        _ connections: HubConnections
    ) async throws -> StoredModel {
        if let model = try place.existing(plan) {
            let isSame = Set(model.record.files.map(\.path)) == plan.paths
            if isSame, model.record.sources == plan.sources, model.incompleteFiles.isEmpty,
                !options.checksFiles
            {
                report(.note("\(plan.name): is up to date"))
                return model
            }
        }
        try StoreFolder.make(place.partsFolder)
        try StoreFolder.make(place.filesFolder)
        var state =
            UnfinishedPull(ofFolder: place.unfinished, name: plan.name)
            ?? UnfinishedPull(name: plan.name)
        state.files = state.files.filter { FileSize.of(place.file($0.key)) == $0.value.bytes }
        let wanted = Dictionary(uniqueKeysWithValues: plan.files.map { ($0.path, $0) })
        for (path, file) in state.files where wanted[path]?.identity != file.identity {
            try ModelStore.delete(place.file(path))
            state.files[path] = nil
        }
        try state.write(toFolder: place.unfinished)
        let meter = PullMeter(plan.name, bytes: plan.bytes, files: plan.files.count, report)
        for file in state.files.values {
            meter.add(file.bytes, isNew: false)
            meter.finishFile()
        }
        try reuse(plan, place, &state, meter)
        try announce(plan, place, state)
        try await download(plan, place, &state, meter, connections)
        return try place.commit(plan, state)
    }

    // MARK: - Files that are on this machine

    /// Links files whose content is in another model of the store, or in the cache of Python's
    /// library.
    private func reuse(
        _ plan: PullPlan,
        _ place: PullPlace,
        _ state: inout UnfinishedPull,
        _ meter: PullMeter
    ) throws {
        var found: [String: [String]] = [:]
        for model in store.contents().models {
            for file in model.record.files {
                found[file.sha256, default: []].append(model.folder + "/" + file.path)
            }
        }
        for file in plan.files where state.files[file.path] == nil {
            guard case .sha256(let sum) = file.checksum, let bytes = file.bytes else { continue }
            var candidates = found[sum, default: []]
            if let origin = file.origin {
                let folder = origin.repository.split(separator: "/").joined(separator: "--")
                candidates.append("\(environment.cache)/models--\(folder)/blobs/\(sum)")
            }
            for path in candidates where FileSize.of(path) == bytes {
                report(.note("\(file.path): is on this machine already; checking \(path)"))
                guard try FileHash.of(path).digest == sum else {
                    report(.note("\(path): is damaged, and is not used"))
                    continue
                }
                try place.take(path, as: file.path)
                state.files[file.path] = .init(
                    path: file.path,
                    identity: file.identity,
                    bytes: bytes,
                    sha256: sum
                )
                try state.write(toFolder: place.unfinished)
                meter.add(bytes, isNew: false)
                meter.finishFile()
                break
            }
        }
    }

    /// Says what is going to be downloaded; throws if there is no space for it.
    private func announce(
        _ plan: PullPlan,
        _ place: PullPlace,
        _ state: UnfinishedPull
    ) throws(SwanError) {
        let missing = plan.files.filter { state.files[$0.path] == nil }.compactMap(\.bytes)
        let arrived = Folder.names(in: place.partsFolder).reduce(0) { sum, name in
            sum + (FileSize.of(place.partsFolder + "/" + name) ?? 0)
        }
        let needed = max(0, missing.reduce(0, +) - arrived)
        let count = plan.files.count
        let rest =
            needed == 0
            ? "all on this machine" : "of which \(ByteSize.text(needed)) are to be downloaded"
        let size = "\(count) \(count == 1 ? "file" : "files"), \(ByteSize.text(plan.bytes))"
        report(.note("\(plan.name): \(size), \(rest)"))
        do throws(SwanError) {
            try DiskSpace.require(
                needed,
                for: place.unfinished + "/file",
                largestFile: missing.max() ?? 0
            )
        } catch {
            throw SwanError(
                error.code,
                error.message.replacing(place.unfinished + "/file", with: place.final)
                    + "; remove models that you no longer need ('swan models rm'), or set "
                    + "SWAN_MODELS to a folder on a larger disk",
                cause: error
            )
        }
    }

    // MARK: - Downloads

    private func download(
        _ plan: PullPlan,
        _ place: PullPlace,
        _ state: inout UnfinishedPull,
        _ meter: PullMeter,
        _ connections: HubConnections
    ) async throws {
        // The small files first: what is wrong with a pull shows early.
        var left = plan.files.filter { state.files[$0.path] == nil }
            .sorted { ($0.bytes ?? 0) > ($1.bytes ?? 0) }
        try await withThrowingTaskGroup(of: UnfinishedPull.File.self) { group in
            func begin() {
                guard let file = left.popLast() else { return }
                let download = FileDownload(
                    file: file,
                    partsFolder: place.partsFolder,
                    target: place.file(file.path),
                    connections: connections,
                    meter: meter,
                    report: report
                )
                group.addTask { try await download.run() }
            }
            for _ in 0..<Self.sideBySide { begin() }
            while let file = try await group.next() {
                state.files[file.path] = file
                try state.write(toFolder: place.unfinished)
                begin()
            }
        }
    }
}

extension PullPlan {
    /// The paths of all files, those that Swan writes included.
    var paths: Set<String> { Set(files.map(\.path)).union(written.keys) }
}
