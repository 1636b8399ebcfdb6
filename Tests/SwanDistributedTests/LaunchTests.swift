import SwanSystem
import Testing

@testable import SwanDistributed

@Suite struct LaunchTests {
    private func launch(_ variables: [String: String]) throws -> Launch? {
        try Launch(environment: variables)
    }

    @Test func alone() throws {
        #expect(try launch([:]) == nil)
        #expect(try launch(["SLURM_PROCID": "0", "SLURM_NTASKS": "1"]) == nil)
    }

    @Test func torchrun() throws {
        let variables = [
            "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4",
            "MASTER_ADDR": "node0", "MASTER_PORT": "29501", "TORCHELASTIC_RESTART_COUNT": "2",
            "TORCHELASTIC_USE_AGENT_STORE": "True",
        ]
        var expected = Launch(
            rank: 5,
            size: 8,
            localRank: 1,
            localSize: 4,
            host: "node0",
            port: 29_501
        )
        (expected.restart, expected.isServedByLauncher) = (2, true)
        #expect(try launch(variables) == expected)
    }

    @Test func slurm() throws {
        let launch = try launch([
            "SLURM_PROCID": "9", "SLURM_NTASKS": "11", "SLURM_LOCALID": "1", "SLURM_NODEID": "2",
            "SLURM_STEP_NODELIST": "gpu[07-09,12],login", "SLURM_STEP_TASKS_PER_NODE": "4(x2),3",
            "SLURM_JOB_ID": "70123",
        ])
        #expect(
            launch
                == Launch(
                    rank: 9,
                    size: 11,
                    localRank: 1,
                    localSize: 3,
                    host: "gpu07",
                    port: 29_623
                )
        )
    }

    @Test func openMPI() throws {
        let variables = [
            "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2",
            "OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
        ]
        let launch = try launch(variables)
        #expect(launch == Launch(rank: 1, size: 2, localRank: 1, localSize: 2, port: 29_500))
    }

    @Test(arguments: [
        (["RANK": "1", "WORLD_SIZE": "2"], "MASTER_ADDR"),
        (["RANK": "one", "WORLD_SIZE": "2", "MASTER_ADDR": "a"], "RANK=one"),
        (["RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "a"], "rank 2 of 2"),
        (
            ["RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "0"],
            "MASTER_PORT=0"
        ),
        (
            [
                "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4",
                "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
            ], "MASTER_ADDR"
        ),
    ])
    func invalid(variables: [String: String], message: String) {
        let error = #expect(throws: SwanError.self) { try launch(variables) }
        #expect(error?.message.contains(message) == true)
    }

    @Test(arguments: [
        ("node1", "node1"), ("node[03-07,09],x", "node03"), ("a,b[1-2]", "a"), ("r[5]n", "r5n"),
    ])
    func firstHost(list: String, host: String) { #expect(SlurmList.firstHost(list) == host) }

    @Test func shares() {
        #expect(Shares(10, among: 4).counts == [3, 3, 2, 2])
        #expect(Shares(10, among: 4)[2] == 6..<8)
        #expect(Shares(2, among: 3).counts == [1, 1, 0])
    }

    @Test(arguments: [(4, 12, 4), (5, 3, 1), (4, 2, 2), (6, 4, 3), (8, 40, 8)])
    func widths(ranks: Int, heads: Int, width: Int) {
        #expect(SequenceParallel.width(ranks, headCount: heads) == width)
    }

    @Test func lines() {
        let shape = Mesh.Shape(data: 2, stages: 2, sequence: 2)
        #expect(Mesh.lines(shape, along: .sequence) == [[0, 1], [2, 3], [4, 5], [6, 7]])
        #expect(Mesh.lines(shape, along: .stage) == [[0, 2], [1, 3], [4, 6], [5, 7]])
        #expect(Mesh.lines(shape, along: .data) == [[0, 4], [1, 5], [2, 6], [3, 7]])
    }
}
