package import SwanSystem

/// How this process was started as one of several, and where they meet.
///
/// Read from the environment that torchrun, SLURM's srun, Open MPI's or MPICH's mpirun set.
package struct Launch: Sendable, Equatable {
    /// The number of this process, and of processes.
    package var rank: Int
    package var size: Int
    /// The same on this machine.
    package var localRank: Int
    package var localSize: Int
    /// The address of the store.
    package var host: String
    package var port: UInt16
    /// The number of times that the launcher has restarted the processes.
    package var restart = 0
    /// Whether the launcher serves the store; otherwise rank 0 does.
    package var isServedByLauncher = false
    /// Whether the ranks of this machine write to one terminal, as those of `swan launch` do.
    package var sharesTerminal = false
    /// The variable that says so.
    static let sharedTerminal = "SWAN_LAUNCH_TERMINAL"

    /// Creates a description.
    package init(
        rank: Int,
        size: Int,
        localRank: Int,
        localSize: Int,
        host: String = "127.0.0.1",
        port: UInt16
    ) {
        self.rank = rank
        self.size = size
        self.localRank = localRank
        self.localSize = localSize
        self.host = host
        self.port = port
    }

    /// Whether this process serves the store.
    package var servesStore: Bool { rank == 0 && !isServedByLauncher }
    /// Whether all processes are on one machine.
    package var isOnOneMachine: Bool { localSize == size }

    /// The default port, torchrun's.
    package static let defaultPort: UInt16 = 29_500

    /// Reads the environment; nil if this process was started alone.
    ///
    /// - Throws: `invalidRequest` if variables are missing or contradict each other.
    package init?(environment: [String: String]) throws(SwanError) {
        let variables = LaunchVariables(environment)
        guard let launch = try Self.read(variables) else { return nil }
        guard launch.size >= 1, 0..<launch.size ~= launch.rank,
            launch.localSize >= 1, 0..<launch.localSize ~= launch.localRank
        else {
            throw SwanError(
                .invalidRequest,
                "rank \(launch.rank) of \(launch.size) (on this machine \(launch.localRank) of "
                    + "\(launch.localSize)) is not possible; check the launcher's variables"
            )
        }
        self = launch
    }

    private static func read(_ variables: LaunchVariables) throws(SwanError) -> Launch? {
        if let launch = try torchrun(variables) { return launch }
        if let launch = try slurm(variables) { return launch }
        if let launch = try mpi(variables, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE") {
            return launch
        }
        return try mpi(variables, "PMI_RANK", "PMI_SIZE")
    }

    /// The names of the variables are those of torch.distributed.
    private static func torchrun(_ variables: LaunchVariables) throws(SwanError) -> Launch? {
        guard let rank = try variables.integer("RANK"),
            let size = try variables.integer("WORLD_SIZE")
        else {
            try requireNone(variables)
            return nil
        }
        guard let host = variables.text("MASTER_ADDR") else {
            throw SwanError(
                .invalidRequest,
                "RANK and WORLD_SIZE are set, but MASTER_ADDR is not: set it to the address of rank 0"
            )
        }
        var launch = Launch(
            rank: rank,
            size: size,
            localRank: try variables.integer("LOCAL_RANK") ?? rank,
            localSize: try variables.integer("LOCAL_WORLD_SIZE") ?? size,
            host: host,
            port: try variables.port ?? defaultPort
        )
        launch.restart = try variables.integer("TORCHELASTIC_RESTART_COUNT") ?? 0
        launch.isServedByLauncher = variables.text("TORCHELASTIC_USE_AGENT_STORE") == "True"
        launch.sharesTerminal = variables.text(sharedTerminal) == "1"
        return launch
    }

    /// Throws if some variables of torchrun are there and the necessary ones are not. One alone may
    /// belong to another program.
    private static func requireNone(_ variables: LaunchVariables) throws(SwanError) {
        let names = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR"]
        let given = names.filter { variables.text($0) != nil }
        guard given.count > 1, let missing = names.prefix(2).first(where: { !given.contains($0) })
        else { return }
        throw SwanError(
            .invalidRequest,
            "\(given.joined(separator: " and ")) are set, but \(missing) is not: set it, or unset them to "
                + "run alone"
        )
    }

    private static func slurm(_ variables: LaunchVariables) throws(SwanError) -> Launch? {
        // In a batch script, which is not a step, the variables describe the script itself.
        let name =
            variables.text("SLURM_STEP_NUM_TASKS") == nil ? "SLURM_NTASKS" : "SLURM_STEP_NUM_TASKS"
        guard let rank = try variables.integer("SLURM_PROCID"),
            let size = try variables.integer(name),
            variables.text("SLURM_STEP_NODELIST") != nil, size > 1
        else { return nil }
        let nodes = variables.text("SLURM_STEP_NODELIST") ?? ""
        let tasks = variables.text("SLURM_STEP_TASKS_PER_NODE") ?? ""
        let node = try variables.integer("SLURM_NODEID") ?? 0
        let job = try variables.integer("SLURM_JOB_ID") ?? 0
        return Launch(
            rank: rank,
            size: size,
            localRank: try variables.integer("SLURM_LOCALID") ?? 0,
            localSize: SlurmList.repeated(tasks)[safe: node] ?? size,
            host: variables.text("MASTER_ADDR") ?? SlurmList.firstHost(nodes) ?? "127.0.0.1",
            // Jobs of different users may share a machine.
            port: try variables.port ?? UInt16(Int(defaultPort) + job % 1_000)
        )
    }

    private static func mpi(
        _ variables: LaunchVariables,
        _ rankName: String,
        _ sizeName: String
    ) throws(SwanError) -> Launch? {
        guard let rank = try variables.integer(rankName),
            let size = try variables.integer(sizeName), size > 1
        else { return nil }
        let local = rankName.replacing("WORLD_RANK", with: "WORLD_LOCAL_RANK")
            .replacing("PMI_RANK", with: "MPI_LOCALRANKID")
        let localSizeName = sizeName.replacing("WORLD_SIZE", with: "WORLD_LOCAL_SIZE")
            .replacing("PMI_SIZE", with: "MPI_LOCALNRANKS")
        let localSize = try variables.integer(localSizeName) ?? size
        guard let host = variables.text("MASTER_ADDR") ?? (localSize == size ? "127.0.0.1" : nil)
        else {
            throw SwanError(
                .invalidRequest,
                "\(rankName) is set, but MASTER_ADDR is not: pass the address of rank 0 to all "
                    + "processes (mpirun -x MASTER_ADDR=HOST)"
            )
        }
        return Launch(
            rank: rank,
            size: size,
            localRank: try variables.integer(local) ?? rank,
            localSize: localSize,
            host: host,
            port: try variables.port ?? defaultPort
        )
    }
}

/// Environment variables, with errors that name them.
private struct LaunchVariables {
    private let environment: [String: String]

    init(_ environment: [String: String]) { self.environment = environment }

    func text(_ name: String) -> String? {
        guard let value = environment[name], !value.isEmpty else { return nil }
        return value
    }

    func integer(_ name: String) throws(SwanError) -> Int? {
        guard let value = text(name) else { return nil }
        guard let number = Int(value) else {
            throw SwanError(
                .invalidRequest,
                "\(name)=\(value.printable(limit: 40)): not an integer"
            )
        }
        return number
    }

    var port: UInt16? {
        get throws(SwanError) {
            guard let number = try integer("MASTER_PORT") else { return nil }
            guard let port = UInt16(exactly: number), port > 0 else {
                throw SwanError(.invalidRequest, "MASTER_PORT=\(number): not a port (1 to 65535)")
            }
            return port
        }
    }
}
