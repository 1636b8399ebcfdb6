import ArgumentParser
import Foundation
import SwanDistributed
import SwanEvaluation
import SwanSystem
import Torch

/// `swan bench distribute`: measures how ranks share a transformer, or simulates more ranks than there are.
struct BenchDistributeCommand: RankedCommand, LoggedCommand {
    static let configuration = CommandConfiguration(
        commandName: "distribute",
        abstract: "Measure how several processes share a model, or simulate 1 to 64 of them.",
        discussion: """
            traffic      bytes and calls of a divided forward, against the model
            sequence     a transformer with its tokens divided, against one rank
            stream       a live stream's transformer with its blocks divided, against one rank

            Starts --nproc ranks on this machine, with one thread each on a CPU. Under 'swan launch', torchrun, srun \
            or mpirun, it measures their ranks instead.

            --simulate plays live streams over 1 to 64 ranks and three kinds of link, with the times of one device: \
            this machine's, or those given.
            """
    )

    @Option(
        help: ArgumentHelp(
            "The rows to measure, separated by commas. The default is all of them.",
            valueName: "names"
        )
    )
    var rows: NameList<DistributedRow>?

    @Option(parsing: .unconditional, help: "The number of ranks to start. The default is 2.")
    var nproc: Int?

    @Option(
        parsing: .unconditional,
        help: "The number of timed rounds, of which the medians count."
    )
    var rounds = 3

    @Option(help: "The device of a rank: auto (a GPU if available), cpu, cuda or cuda:N.")
    var device = DeviceName(name: "cpu")

    @Flag(help: "Simulate instead of measuring ranks.")
    var simulate = false

    @OptionGroup var costs: SimulationCosts

    @Flag(help: "Exit with code 65 if a figure misses its bound.")
    var check = false

    @Flag(help: "Print the result as JSON.")
    var json = false

    var runsOverRanks: Bool { !simulate }

    @OptionGroup var logging: LogOptions

    func validate() throws {
        guard (2...64).contains(nproc ?? 2) else {
            throw ValidationError("--nproc must be between 2 and 64, not \(nproc ?? 2)")
        }
        guard !simulate || (rows == nil && nproc == nil && !check) else {
            throw ValidationError("--rows, --nproc and --check are not for --simulate")
        }
        guard (1...1_000).contains(rounds) else {
            throw ValidationError("--rounds must be between 1 and 1000, not \(rounds)")
        }
        guard simulate || !costs.isGiven else {
            throw ValidationError("times of a device are for --simulate")
        }
    }

    func run() throws {
        if simulate { return try printSimulation() }
        guard let size = try Ranks.launch?.size else { return try launch() }
        guard size == nproc ?? size else {
            throw ValidationError(
                "--nproc is \(nproc ?? size), but the launcher started \(size) ranks"
            )
        }
        let name = device.name
        let device = try Ranks.launch?.device(named: name) ?? Device(named: name)
        try Ranks.run(RankedJob(device: "\(device)", deadline: .seconds(600))) { world in
            guard let world else { return }
            try measure(world, device)
        }
    }

    private func launch() throws {
        var environment = ProcessInfo.processInfo.environment
        if device.name == "cpu", environment["OMP_NUM_THREADS"] == nil {
            environment["OMP_NUM_THREADS"] = "1"
        }
        let launcher = RankLauncher(
            try RankPlan(processes: nproc ?? 2),
            Array(CommandLine.arguments.dropFirst()),
            environment: environment
        )
        throw ExitCode(try launcher.run().status)
    }

    private func measure(_ world: World, _ device: Device) throws {
        let benchmark = DistributedBenchmark(world, rounds: rounds, device: device)
        var results: [DistributedResult] = []
        if !json {
            let report = BenchmarkReport(device)
            try StandardOutput.write(
                "\(report.machine.processor), \(world.size) ranks, \(report.engine), on "
                    + report.device
            )
        }
        for row in rows?.names ?? DistributedRow.allCases {
            let result = try benchmark.run(row)
            results.append(result)
            if !json { try StandardOutput.write(result.line) }
        }
        if json { try StandardOutput.write(JSONText.data(results)) }
        guard check, world.rank == 0, !results.allSatisfy(\.holds) else { return }
        throw ExitCode(EX_DATAERR)
    }

    private func printSimulation() throws {
        let device = try Device(named: device.name)
        let table = try inference { try costs.table(device, rounds: rounds) }
        try StandardOutput.write(json ? JSONText.data(table) : Data((table.text + "\n").utf8))
    }
}

/// The times of one device, for a simulation.
struct SimulationCosts: ParsableArguments {
    @Option(
        name: .customLong("block-ms"),
        parsing: .unconditional,
        help:
            "With --simulate: the time of one block of the 1.3B transformer for the rows of all steps."
    )
    var block: Double?

    @Option(
        name: .customLong("encode-ms"),
        parsing: .unconditional,
        help: "With --simulate: the time of encoding a chunk of 4 frames."
    )
    var encode: Double?

    @Option(
        name: .customLong("decode-ms"),
        parsing: .unconditional,
        help: "With --simulate: the time of decoding a chunk."
    )
    var decode: Double?

    @Option(
        parsing: .unconditional,
        help: "With --simulate: the floating-point operations a second of a device, in 10^12."
    )
    var teraflops: Double?

    private var all: [Double?] { [block, encode, decode, teraflops] }

    var isGiven: Bool { all.contains { $0 != nil } }

    func validate() throws {
        let given = all.compactMap(\.self)
        guard given.isEmpty || given.count == all.count else {
            throw ValidationError(
                "--block-ms, --encode-ms, --decode-ms and --teraflops belong together: give all or none"
            )
        }
        guard given.allSatisfy({ $0.isFinite && $0 > 0 }) else {
            throw ValidationError("times and --teraflops must be above 0")
        }
    }

    func table(_ device: Device, rounds: Int) throws -> SimulationTable {
        guard let block, let encode, let decode, let teraflops else {
            return try SimulationTable(measuring: device, rounds: rounds)
        }
        return SimulationTable(
            .live(block: block / 1_000, encode: encode / 1_000, decode: decode / 1_000),
            speed: teraflops * 1e12
        )
    }
}
