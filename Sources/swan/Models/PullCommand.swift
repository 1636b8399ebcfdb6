import ArgumentParser
import Foundation
import SwanCheckpoints
import SwanHub
import SwanStore
import SwanSystem
import Synchronization

/// `swan models pull`: downloads a model into the store.
struct PullCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pull",
        abstract: "Download a model, so that --model finds it by its name.",
        discussion: """
            SOURCE is the name of a known model ('swan models list --known'), a repository of \
            huggingface.co as OWNER/NAME[@REVISION][:PATH], or the address of a page of it or of \
            any file. Interrupted downloads go on where they stopped, and checksums are verified. \
            Prints the model's path.

            EXAMPLES:
              swan models pull streamdiffusionv2
              swan models pull wan2.1-t2v-1.3b --dry-run
              swan models pull Kijai/WanVideo_comfy:Wan2_1-T2V-1_3B_fp8_e4m3fn.safetensors
              swan models pull https://github.com/madebyollin/taehv/raw/main/taew2_1.pth

            ENVIRONMENT:
              SWAN_MODELS (the store), HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE, HTTPS_PROXY, NO_PROXY, \
            SSL_CERT_FILE
            """
    )

    @Argument(help: ArgumentHelp("What to download.", valueName: "source"))
    var source: String

    @Option(help: "The branch, tag or commit of a repository.")
    var revision: String?

    @Option(
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp("Take only files that match. Repeatable.", valueName: "pattern")
    )
    var include: [String] = []

    @Option(
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp("Leave out files that match. Repeatable.", valueName: "pattern")
    )
    var exclude: [String] = []

    @Option(help: "The name for --model, instead of the source's.")
    var name: String?

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("Put the files into this folder, not the store.", valueName: "folder")
    )
    var output: String?

    @Flag(name: .customLong("dry-run"), help: "Show the files and their sizes; download nothing.")
    var isDryRun = false

    @Flag(help: "Check all files although the model is here, and replace those that are wrong.")
    var check = false

    @Option(
        help: "How to show progress: auto (a bar on a terminal), bar, plain, json or none."
    )
    var progress = ProgressStyle.auto

    @Flag(help: "Print the result as JSON.")
    var json = false

    func validate() throws {
        if let name, name.isEmpty || name.contains("\n") {
            throw ValidationError("--name: give a name")
        }
        if output?.isEmpty == true { throw ValidationError("--output: give a folder") }
    }

    func run() throws {
        let environment = try HubEnvironment()
        let display = Mutex(PullDisplay(progress))
        let pull = ModelPull(
            try options(environment),
            environment: environment,
            store: ModelStore(),
            userAgent: "swan/\(SwanVersion.text)"
        ) { event in display.withLock { $0.show(event) } }
        let running = Mutex<Task<StoredModel, any Error>?>(nil)
        let signals = try StopSignals(
            .init(stopping: "stopping; what has arrived is kept", abandoned: "stopped"),
            stop: {
                running.withLock { task in
                    task?.cancel()
                    return task != nil
                }
            },
            abandon: {}
        )
        guard !isDryRun else {
            return try show(waiting(for: Task { try await pull.plan() }))
        }
        let task = Task { try await pull.run() }
        running.withLock { $0 = task }
        do {
            let model = try waiting(for: task)
            display.withLock { $0.end(model) }
            try show(model)
        } catch {
            display.withLock { $0.clear() }
            guard let code = signals.exitCode else { throw error }
            Terminal.standardError.write(
                kind: .note,
                "stopped; the same command goes on from what has arrived"
            )
            throw ExitCode(code)
        }
    }

    private func options(_ environment: HubEnvironment) throws -> ModelPull.Options {
        var options: ModelPull.Options
        do throws(SwanError) {
            options = .init(
                try PullSource(source, revision: revision, endpoint: environment.endpoint)
            )
        } catch {
            let isUnknown = error.code == .noSuchModel
            throw isUnknown
                ? SwanError(error.code, error.message + ModelLocation.advice(source)) : error
        }
        options.patterns = FilePatterns(included: include, excluded: exclude)
        options.name = name
        options.folder = output
        options.checksFiles = check
        return options
    }

    private func show(_ model: StoredModel) throws {
        guard json else { return try StandardOutput.write(model.location) }
        try StandardOutput.write(JSONText.data(ModelListing(model)))
    }

    /// The files that would be pulled.
    private func show(_ plan: PullPlan) throws {
        guard !json else { return try StandardOutput.write(JSONText.data(PlanListing(plan))) }
        var lines = plan.files.map { file in
            let size = file.bytes.map(ByteSize.text) ?? "size unknown"
            return String(repeating: " ", count: max(0, 12 - size.count)) + size + "  " + file.path
        }
        let license = plan.license.map { ", license: \($0)" } ?? ""
        lines.append("\(plan.name): \(ByteSize.text(plan.bytes)) in all\(license)")
        try StandardOutput.write(lines.joined(separator: "\n"))
    }

    /// What `--dry-run --json` prints.
    private struct PlanListing: Encodable {
        let name: String
        let license: String?
        let bytes: Int
        let sources: [PulledModel.Source]
        let files: [File]

        struct File: Encodable {
            let path: String
            let bytes: Int?
        }

        init(_ plan: PullPlan) {
            (name, license, bytes, sources) = (plan.name, plan.license, plan.bytes, plan.sources)
            files = plan.files.map { File(path: $0.path, bytes: $0.bytes) }
        }
    }
}
